"""What one campaign did, and whether that may be said: estimates, their checks, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Final, Literal

import polars as pl

from mktgen.documents import EffectReport, Gate, Interval
from mktgen.feedback.effect import diagnostics
from mktgen.feedback.effect.crossfit import Nuisance, nuisance, within
from mktgen.feedback.effect.estimate import Estimate
from mktgen.feedback.effect.lift import lift, minimal_detectable
from mktgen.feedback.effect.linear import difference_of_means
from mktgen.feedback.effect.observed import doubly_robust, overlap_weighted
from mktgen.feedback.effect.sample import CONTROL, TREATED, Sample, arm_rows
from mktgen.settings import EffectSettings

ADJUSTED: Final = "adjusted"
NAIVE: Final = "naive"
PLACEBO: Final = "placebo"
NEGATIVE: Final = "negative_control"


@dataclass(frozen=True)
class Campaign:
    """One campaign to be judged.

    rows, placebo: see cohort.Cohort or Sample.of; `outcome` and `covariates` name columns of both. negative_control and
    other_campaign: columns of `rows`; None: not recorded. control_share: share of customers that the design
    leaves alone, for the sample-ratio check; None: no design is known. randomised: the source's capability
    has_randomised_holdout, or that the holdout was drawn by us.
    """

    campaign_id: str
    partition: date
    rows: pl.DataFrame
    placebo: pl.DataFrame | None
    outcome: str
    covariates: tuple[str, ...]
    said: str  # what the outcome is, with unit and window
    randomised: bool = False
    control_share: float | None = None
    negative_control: str | None = None
    other_campaign: str | None = None
    arm: str = TREATED


@dataclass(frozen=True)
class Findings:
    """All figures of a campaign before a verdict; `estimates` has NAIVE, ADJUSTED and what else could be had."""

    customers: dict[str, int]
    estimates: dict[str, Estimate]
    figures: dict[str, float] = field(default_factory=dict)
    relative: Interval | None = None


def assess(campaign: Campaign, settings: EffectSettings, seed: int) -> EffectReport:
    """The report of one campaign and arm. Its `effect` is there only where every check that the design needs was passed.

    Randomised: regression on pre-period covariates (interacted), sample ratio, placebo. Not randomised: AIPW, judged by
    balance, overlap, placebo, negative control and contamination; a check that can't be made counts as failed.
    Raises PermanentError where the rows break their form (see Sample.of) or the arm has none.
    """
    return judge(campaign, findings(campaign, settings, seed), settings)


def judge(campaign: Campaign, found: Findings, settings: EffectSettings) -> EffectReport:
    """The verdict on figures that are there already: see `assess`."""
    gates = _gates(campaign, found, settings)
    reasons = [f"{gate.name}: {gate.detail}" for gate in gates if gate.passed is False]
    reported = not reasons
    intervals = {name: estimate.interval() for name, estimate in sorted(found.estimates.items())}
    return EffectReport(
        partition=campaign.partition,
        campaign_id=campaign.campaign_id,
        arm=campaign.arm,
        outcome=campaign.said,
        design="randomised" if campaign.randomised else "observational",
        customers=found.customers,
        evidence=intervals,
        effect=intervals[ADJUSTED] if reported else None,
        relative_effect=found.relative if reported else None,
        diagnostics=dict(sorted(found.figures.items())),
        gates=gates,
        verdict="reported" if reported else "refused",
        reasons=reasons,
        notes=_notes(campaign, reported),
    )


def findings(campaign: Campaign, settings: EffectSettings, seed: int) -> Findings:
    """Estimates and diagnostics of a campaign; too few customers leave the naive difference alone, or nothing."""
    rows = arm_rows(campaign.rows, campaign.arm)
    sample = Sample.of(rows, campaign.outcome, campaign.covariates)
    customers = {
        TREATED: sample.customers_in(sample.treated),
        CONTROL: sample.customers_in(~sample.treated),
    }
    smaller = min(customers.values())
    if smaller < 2:
        return Findings(customers, {})
    estimates = {NAIVE: difference_of_means(sample).effects[campaign.arm]}
    if smaller < settings.min_customers:
        return Findings(customers, estimates)
    if campaign.randomised:
        return _randomised(campaign, rows, Findings(customers, estimates))
    return _observed(campaign, rows, sample, settings, seed, Findings(customers, estimates))


def _randomised(campaign: Campaign, rows: pl.DataFrame, found: Findings) -> Findings:
    """Interacted regression where the arms have customers enough for its covariates, else the plain difference."""
    arm, known = campaign.arm, campaign.covariates
    main = lift(rows, campaign.outcome, _affordable(known, rows, arm), arm=arm)
    estimates, figures = found.estimates | {ADJUSTED: main.adjusted}, {"variance_ratio": main.variance_ratio}
    figures["minimal_detectable_effect"] = main.minimal_detectable
    others = [(PLACEBO, campaign.placebo, campaign.outcome), (NEGATIVE, rows, campaign.negative_control)]
    for name, frame, outcome in others:
        if frame is not None and outcome is not None and _smaller_arm(frame, arm) >= 2:
            estimates[name] = lift(frame, outcome, _affordable(known, frame, arm), arm=arm).adjusted
    return Findings(found.customers, estimates, figures | _ratio(campaign, rows), main.relative)


def _affordable(covariates: tuple[str, ...], rows: pl.DataFrame, arm: str) -> tuple[str, ...]:
    """The covariates where the smaller arm has four customers for each of its coefficients, else none."""
    return covariates if _smaller_arm(rows, arm) >= 4 * (len(covariates) + 1) else ()


def _ratio(campaign: Campaign, rows: pl.DataFrame) -> dict[str, float]:
    if campaign.control_share is None or not 0 < campaign.control_share < 1:
        return {}
    held, units, p_value = diagnostics.sample_ratio(Sample.of(rows, campaign.outcome), campaign.control_share)
    return {
        "sample_ratio_p_value": p_value,
        "control_share": held / units,
        "control_share_designed": campaign.control_share,
    }


def _observed(
    campaign: Campaign, rows: pl.DataFrame, sample: Sample, settings: EffectSettings, seed: int, found: Findings
) -> Findings:
    estimates, figures = dict(found.estimates), dict(found.figures)
    fitted = nuisance(sample, settings.folds, settings.outcome_model, seed)
    figures |= diagnostics.overlap(sample, fitted.propensity, settings.trim)
    figures |= _balance(sample, fitted, settings)
    estimates |= _pair(sample, fitted, settings, ADJUSTED)
    if ADJUSTED in estimates:
        figures["minimal_detectable_effect"] = minimal_detectable(estimates[ADJUSTED])
    if campaign.other_campaign is not None:
        figures |= diagnostics.contamination(rows, campaign.other_campaign)
    if campaign.negative_control is not None:
        control = Sample.of(rows, campaign.negative_control, campaign.covariates)
        refitted = nuisance(control, settings.folds, settings.outcome_model, seed)
        estimates |= _pair(control, refitted, settings, NEGATIVE)
    if campaign.placebo is not None and _smaller_arm(campaign.placebo, campaign.arm) >= 2 * settings.folds:
        earlier = Sample.of(arm_rows(campaign.placebo, campaign.arm), campaign.outcome, campaign.covariates)
        refitted = nuisance(earlier, settings.folds, settings.outcome_model, seed)
        estimates |= _pair(earlier, refitted, settings, PLACEBO)
        estimates |= _change(campaign, rows, campaign.placebo)
    return Findings(found.customers, estimates, figures)


def _pair(sample: Sample, fitted: Nuisance, settings: EffectSettings, name: str) -> dict[str, Estimate]:
    """AIPW under `name` where both arms have customers in the overlap, and the R-learner beside it."""
    pair = {f"{name}_overlap_weighted": overlap_weighted(sample, fitted)}
    kept = within(fitted.propensity, settings.trim)
    if min(sample.customers_in(kept & sample.treated), sample.customers_in(kept & ~sample.treated)) >= 2:
        pair[name] = doubly_robust(sample, fitted, settings.trim)
    return pair


def _balance(sample: Sample, fitted: Nuisance, settings: EffectSettings) -> dict[str, float]:
    weights = diagnostics.inverse_weights(sample, fitted.propensity, settings.trim)
    if min(weights[sample.treated].sum(), weights[~sample.treated].sum()) == 0:
        return {}
    gaps = diagnostics.balance(sample, weights)
    return {
        "covariates": float(len(gaps.names)),
        "max_smd": float(abs(gaps.before).max()),
        "max_smd_weighted": float(abs(gaps.after).max()),
        "unbalanced": float((abs(gaps.before) > settings.max_smd).sum()),
        "unbalanced_weighted": float((abs(gaps.after) > settings.max_smd).sum()),
    }


def _change(campaign: Campaign, rows: pl.DataFrame, placebo: pl.DataFrame) -> dict[str, Estimate]:
    """Difference in differences: the naive difference of each customer's change since the window before."""
    before = placebo.select("customer_id", "wave", pl.col(campaign.outcome).alias("_before"))
    joined = rows.join(before, on=["customer_id", "wave"]).with_columns(
        (pl.col(campaign.outcome).cast(pl.Float64) - pl.col("_before")).alias("_change")
    )
    if _smaller_arm(joined, campaign.arm) < 2:
        return {}
    return {"difference_in_differences": difference_of_means(Sample.of(joined, "_change")).effects[campaign.arm]}


def _smaller_arm(rows: pl.DataFrame, arm: str) -> int:
    """Customers of the arm or of the control, whichever are fewer."""
    return min(rows.filter(pl.col("arm") == name)["customer_id"].n_unique() for name in (arm, CONTROL))


# -- the verdict ------------------------------------------------------------------------------------------------------
def _gates(campaign: Campaign, found: Findings, settings: EffectSettings) -> list[Gate]:
    gates = [_size(found, settings)]
    if gates[0].passed is False:
        return gates
    if ADJUSTED not in found.estimates:
        return [*gates, _missing(ADJUSTED, "of one arm hardly a customer lies in the overlap")]
    alpha = settings.randomisation_alpha if campaign.randomised else settings.placebo_alpha
    checks = [_zero(found, PLACEBO, alpha, "no window before the campaign is given"), _precise_placebo(found)]
    if campaign.randomised:
        negative = _zero(found, NEGATIVE, alpha, "not recorded", needed=False)
        return [*gates, _sample_ratio(found, settings), *checks, negative]
    negative = _zero(found, NEGATIVE, alpha, "no outcome that the campaign can't reach is given")
    return [*gates, *checks, negative, *_comparability(found, settings)]


def _size(found: Findings, settings: EffectSettings) -> Gate:
    treated, control = found.customers[TREATED], found.customers[CONTROL]
    return Gate(
        name="customers",
        passed=min(treated, control) >= settings.min_customers,
        detail=f"{treated} treated and {control} control customers; {settings.min_customers} each are needed",
        value=float(min(treated, control)),
        threshold=float(settings.min_customers),
    )


def _zero(found: Findings, name: str, alpha: float, absent: str, needed: bool = True) -> Gate:
    """An estimate that must be 0, were the groups comparable."""
    estimate = found.estimates.get(name)
    if estimate is None:
        return _missing(name, absent) if needed else Gate(name=name, passed=None, detail=absent)
    p_value, shown = estimate.p_value(), _shown(estimate.interval())
    detail = f"{shown} where 0 was due; p = {p_value:.4f}, {alpha:g} is the bar"
    return Gate(name=name, passed=p_value >= alpha, detail=detail, value=p_value, threshold=alpha)


def _precise_placebo(found: Findings) -> Gate:
    """An effect is told from bias only where the placebo rules out a bias as large; none is claimed where 0 is inside."""
    effect, placebo = found.estimates[ADJUSTED], found.estimates.get(PLACEBO)
    shown = effect.interval()
    if shown.low <= 0 <= shown.high:
        return Gate(name="placebo_precision", passed=None, detail="no effect is claimed")
    if placebo is None:
        return Gate(name="placebo_precision", passed=None, detail="no placebo to be precise")
    bounds = placebo.interval()
    inside = bounds.low <= effect.value <= bounds.high
    said = "does not rule out" if inside else "rules out"
    detail = f"the placebo's interval {said} a bias as large as the estimate"
    return Gate(name="placebo_precision", passed=not inside, detail=detail)


def _sample_ratio(found: Findings, settings: EffectSettings) -> Gate:
    p_value = found.figures.get("sample_ratio_p_value")
    if p_value is None:
        return _missing("sample_ratio", "the designed share of the holdout is not given")
    share, designed = found.figures["control_share"], found.figures["control_share_designed"]
    alpha = settings.randomisation_alpha
    detail = f"{share:.2%} held out, {designed:.2%} designed: p = {p_value:.4f}"
    return Gate(name="sample_ratio", passed=p_value >= alpha, detail=detail, value=p_value, threshold=alpha)


def _comparability(found: Findings, settings: EffectSettings) -> list[Gate]:
    figures = found.figures
    overlap = min(figures["overlap_treated"], figures["overlap_control"])
    gates = [
        _bound("balance", figures.get("max_smd_weighted"), settings.max_smd, "most",
               "largest standardised mean difference after weighting"),
        _bound("propensity", figures["propensity_auc"], settings.max_propensity_auc, "most",
               "AUC with which the covariates foretell who was treated"),
        _bound("overlap", overlap, settings.min_overlap, "least", "share of an arm that could have been in the other"),
        _bound("effective_size", figures["effective_share"], settings.min_effective_share, "least",
               "effective share of an arm's rows under their weights"),
    ]  # fmt: skip
    shares = [figures.get(f"contaminated_{arm}") for arm in ("treated", "control")]
    worst = None if None in shares else max(share for share in shares if share is not None)
    what = "share of an arm that was in another campaign inside the window"
    return [*gates, _bound("contamination", worst, settings.max_contamination, "most", what)]


def _bound(name: str, value: float | None, threshold: float, side: Literal["most", "least"], what: str) -> Gate:
    if value is None:
        return _missing(name, f"{what}: not recorded")
    passed = value <= threshold if side == "most" else value >= threshold
    detail = f"{what} {value:.3f}, at {side} {threshold:g}"
    return Gate(name=name, passed=passed, detail=detail, value=value, threshold=threshold)


def _missing(name: str, why: str) -> Gate:
    return Gate(name=name, passed=False, detail=f"can't be checked: {why}")


def _shown(interval: Interval) -> str:
    return f"{interval.value:+.1f} [{interval.low:+.1f}, {interval.high:+.1f}]"


def _notes(campaign: Campaign, reported: bool) -> list[str]:
    notes = ["Intervals are 95%, clustered by customer."]
    if not reported:
        notes.append("Refused: the figures under `evidence` show why; none of them is an effect.")
    elif not campaign.randomised:
        notes.append("Not randomised: it holds as far as the covariates hold all that chose the customers.")
    return notes
