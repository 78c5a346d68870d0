"""Judge the policy as learned now on the decisions of the past, before it may spend the day's whole budget."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import polars as pl

from mktgen.contracts import HELD_OUT_EFFECTS
from mktgen.documents import LaunchEvidence, ResponsePromotion
from mktgen.evaluation.off_policy.evidence import launch_evidence
from mktgen.evaluation.off_policy.trial_log import TrialLog
from mktgen.response.contact_facts import aligned
from mktgen.response.model import ResponseModel
from mktgen.settings import Settings
from mktgen.steps import responding
from mktgen.steps.known import known_by_day, past_reads
from mktgen.steps.runner import Outcome, Platform, Read, Run
from mktgen.strategy.exploration import cannot_pay, exploration, narrowed
from mktgen.strategy.past import candidate_chances, usual_chances

NO_CONTACT: Final = "no contact"
USUAL: Final = "business as usual"


def judge_reads(day: date, platform: Platform) -> list[Read]:
    """What the response was learned from, as far back as the log reaches, and what was offered then."""
    window = timedelta(days=platform.settings.response.matured_after_days)
    first = day - timedelta(days=platform.settings.evaluation.off_policy.log_days)
    days = [found for found in platform.store.partitions("trials") if first <= found - window and found < day]
    kept = (found for found in platform.store.currents("trials", days) if found.rows)
    matured = tuple(date.fromisoformat(found.partition) for found in kept)
    decided = tuple(found - window for found in matured)
    serving = responding.serving_reads(day, platform)
    versions = {found for read in serving if read.artefact == "response_model" for found in read.days}
    return [
        *serving,
        Read("held_out_effects", tuple(sorted({day, *versions})), True, "learn_response"),
        Read("trials", matured, required=False),
        *past_reads(decided),
        Read("offer_scores", decided, True, "the loop of that day"),
    ]


def judge_policy(run: Run) -> Outcome:
    """Evidence for the launch gate: proven, an experiment, or not to be judged, in words."""
    promotion = run.document("response_promotion", ResponsePromotion)
    if not run.platform.source.live:
        return _unproven(
            run, "not_judged", "no customer of this source can receive what is sent, so nothing is ever tried"
        )
    if promotion.serving is None:
        return _unproven(run, "experiment", f"no effect of contacts is known: {promotion.reason}")
    past = gather(run)
    if past.trials.is_empty():
        return _unproven(run, "experiment", "the log holds no recent trial with a choice that is not doubted")
    found = judge(past, run.settings, run.day, responding.trials_behind(run))
    told = [f"{one.gate.passed}: {one.gate.detail}" for one in found.comparisons]
    return Outcome(documents={"launch_evidence": found}, notes=[f"{found.standing}: {found.reason}", *told])


def _unproven(run: Run, standing: str, reason: str) -> Outcome:
    found = LaunchEvidence.model_validate(
        {"partition": run.day, "standing": standing, "reason": reason, "value": None, "logged": None}
        | {"comparisons": [], "facts": {}}
    )
    return Outcome(documents={"launch_evidence": found}, notes=[f"{standing}: {reason}"])


@dataclass(frozen=True)
class Past:
    """trials: contracts.TRIALS that the model admitted. foretold: contracts.HELD_OUT_EFFECTS. offers: decided_on,
    decision_id, offer_id, cost_minor, p_redeem, draws (Array: posterior of the effect without the customer's own trials)."""

    trials: pl.DataFrame
    foretold: pl.DataFrame
    offers: pl.DataFrame


def gather(run: Run) -> Past:
    """The newest days of the log, as many as the settings allow."""
    model, own_version = responding.model_of(run), run.tables_by_day("held_out_effects")
    known_ones = pl.concat(own_version.values())
    trials = run.table("trials").join(known_ones, on="decision_id", how="semi")
    promotion = run.document("response_promotion", ResponsePromotion)
    trials = believed(trials, promotion.doubted_before)
    if model is None or trials.is_empty():
        return Past(trials.clear(), known_ones.clear(), pl.DataFrame())
    foretold = foretold_by(own_version, promotion.serving)
    behind = responding.trials_behind(run)
    known_then = known_by_day(run)
    candidates = run.tables_by_day("offer_scores")
    parts: list[pl.DataFrame] = []
    kept: list[pl.DataFrame] = []
    rows = 0
    for key, own in sorted(trials.partition_by("decided_on", as_dict=True).items(), reverse=True):
        day: date = key[0]
        if kept and rows + own.height > run.settings.evaluation.off_policy.log_decisions:
            break
        known = aligned(known_then[day], model.basis.columns)
        offered, whole = offers_of(own, candidates[day], foretold, model, known, run.settings, behind)
        parts.append(offered.with_columns(decided_on=pl.lit(day)))
        kept.append(whole)
        rows += whole.height
    return Past(pl.concat(kept), foretold, pl.concat(parts))


def believed(trials: pl.DataFrame, doubted_before: date | None) -> pl.DataFrame:
    """The trials on which a policy is judged: none that is doubted, since there effects were others."""
    return trials if doubted_before is None else trials.filter(pl.col("decided_on") >= doubted_before)


def foretold_by(tables: dict[date, pl.DataFrame], serving: date | None) -> pl.DataFrame:
    """contracts.HELD_OUT_EFFECTS by the version that serves: its own for trials it learned from; for later ones, which it
    never saw, no effect (null: to be filled by the model), and the expected reward of the newest version."""
    own = tables[serving] if serving in tables else HELD_OUT_EFFECTS.empty()
    newest = tables[max(tables)].join(own, on="decision_id", how="anti")
    unseen = newest.with_columns(effect_minor=pl.when(pl.col("action") == "no_contact").then(0.0))
    return pl.concat([own, unseen])


def offers_of(
    trials: pl.DataFrame,
    candidates: pl.DataFrame,
    foretold: pl.DataFrame,
    model: ResponseModel,
    known: pl.DataFrame,
    settings: Settings,
    behind: float | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What was possible in one day's trials (see Past.offers), and the trials whose offers are all still stored.

    The posterior of an effect is centred on what was foretold without the customer's own trials (null: of trials that the
    model has not seen, its own mean), and spreads as that of the model: its spread depends on covariates and chances,
    hardly on a single outcome. behind: effective number of trials that are believed; None: all that the model has.
    """
    pairs = trials.select("decision_id", "customer_id", offer_id="action_set", p="action_propensities")
    pairs = pairs.explode("offer_id", "p").filter((pl.col("p") > 0) & (pl.col("offer_id") != "no_contact")).drop("p")
    terms = candidates.select("customer_id", "offer_id", "cost_minor", "p_redeem")
    joined = pairs.join(terms, on=["customer_id", "offer_id"], how="left", maintain_order="left")
    lost = joined.filter(pl.col("cost_minor").is_null()).select("decision_id").unique()
    joined = joined.join(lost, on="decision_id", how="anti", maintain_order="left")
    own = known.join(joined.select("customer_id").unique(), on="customer_id", how="semi").sort("customer_id")
    effects = foretold.select("decision_id", "effect_minor", offer_id="action")
    drawn = _spread(model, own, joined["offer_id"].unique().sort().to_list(), settings, behind).rename(
        {"action": "offer_id"}
    )
    full = joined.join(effects, on=["decision_id", "offer_id"], maintain_order="left")
    full = full.join(drawn, on=["customer_id", "offer_id"], maintain_order="left")
    return (
        full.with_columns(draws=pl.col("deviations") + pl.col("effect_minor").fill_null(pl.col("mean"))).select(
            "decision_id", "offer_id", "cost_minor", "p_redeem", "draws"
        ),
        trials.join(lost, on="decision_id", how="anti"),
    )


def _spread(
    model: ResponseModel, known: pl.DataFrame, actions: list[str], settings: Settings, behind: float | None
) -> pl.DataFrame:
    """customer_id, action, mean, deviations (Array): the draws of each effect as their mean and what they are off it."""
    count = settings.strategy.posterior_draws
    values = model.draws(known, count, settings.seed, actions)
    mean = values.mean(axis=0)
    number = model.trials_effective if behind is None else behind
    off = exploration(number, settings.strategy).width * (values - mean).transpose(1, 2, 0).reshape(-1, count)
    pairs = known.select("customer_id").join(
        pl.DataFrame({"action": actions}, schema={"action": pl.String}), how="cross"
    )
    return pairs.with_columns(
        mean=pl.Series(mean.ravel(), dtype=pl.Float64), deviations=pl.Series(off, dtype=pl.Array(pl.Float64, count))
    )


def judge(past: Past, settings: Settings, partition: date, trials: float | None = None) -> LaunchEvidence:
    """The policy as learned now against no contact and business as usual, day by day with the whole budget.

    trials: effective number behind the response model, by which exploration narrows.
    """
    strategy = narrowed(settings.strategy, trials)
    usual_minor = int(strategy.budget_minor * strategy.usual_share)
    ours, usual = [], []
    for day in past.offers["decided_on"].unique().sort():
        offers = past.offers.filter(pl.col("decided_on") == day)
        ours.append(candidate_chances(offers, strategy.budget_minor - usual_minor, strategy))
        usual.append(usual_chances(offers, strategy.budget_minor - usual_minor))
    log = TrialLog.of(past.trials, past.foretold)
    incumbents = {NO_CONTACT: log.no_contact, USUAL: log.table(pl.concat(usual), "p")}
    candidate = log.table(pl.concat(ours), "p")
    found = launch_evidence(log, candidate, incumbents, settings.evaluation, partition, settings.seed)
    gain = found.comparisons[0].difference  # over no contact
    spent = _spent(pl.concat(ours), past.offers) / past.trials.height
    if found.standing == "proven" or gain is None or not cannot_pay(gain, spent):
        return found
    reason = (
        f"not worth exploring on: against {NO_CONTACT} it gains at most {gain.high:.1f} minor units a decision, and spends "
        f"{spent:.1f}; nobody is contacted until these trials leave the log of {settings.evaluation.off_policy.log_days} days"
    )
    return found.model_copy(update={"standing": "futile", "reason": reason})


def _spent(chances: pl.DataFrame, offers: pl.DataFrame) -> float:
    """Expected cost, minor units, of chances (decision_id, action, p) at the offers' costs."""
    priced = chances.join(offers.rename({"offer_id": "action"}), on=["decision_id", "action"])
    return float((priced["p"] * priced["cost_minor"]).sum())
