"""Is what was learned believable? Gates on held-out trials; each says what was found and what it was held against.

All intervals are 99%, clustered by customer, and where a gate looks at several actions they hold for all at once
(Bonferroni). Trials count by age as in the fit. If all is well a gate fails about once in a hundred independent sets of
trials, the two of the randomisation once in a thousand.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import chdtrc, ndtri

from mktgen.documents import Gate
from mktgen.response.clustered import mean_score, pooled_error, r_gain, slopes, wald
from mktgen.response.held_out import HeldOut, by_customer
from mktgen.response.trials import Trials

Matrix = NDArray[np.float64]

_LEAST_SLOPE: Final = 0.8  # of held-out effects on predicted differences; among many trials the last percents tell, too
_ALPHA: Final = 0.01
_RANDOMISED_ALPHA: Final = 0.001  # as the sample-ratio check of a strategy: an alarm here means a broken log


def sanity_gates(
    held_out: HeldOut, offers: pl.DataFrame, placebo: pl.DataFrame | None = None, redeemed: pl.DataFrame | None = None
) -> list[Gate]:
    """All gates of one fit.

    offers: action, mechanic (String), face_value_minor: of the actions, as far as known. placebo: decision_id,
    placebo_minor: the reward before the decision. redeemed: decision_id, redeemed (Boolean).
    """
    return [
        randomisation(held_out),
        covariate_balance(held_out),
        mean_effect(held_out),
        calibration(held_out),
        no_harm_in_scale(held_out),
        monotone(held_out, offers, redeemed),
        placebo_effect(held_out, placebo),
        final_stage(held_out),
    ]


def randomisation(held_out: HeldOut) -> Gate:
    """Were actions drawn as often as logged, whoever the customer was?

    sum of w (1[drawn a] - e_a) over trials is 0 up to chance: a Wald test over actions. It fails where the log's chances are
    not those of the draw.
    """
    trials = held_out.trials
    scores = by_customer(trials, trials.contrast * held_out.weight[:, None])
    statistic, freedom = wald(scores)
    p_value = float(chdtrc(freedom, statistic)) if freedom else 1.0
    detail = f"p = {p_value:.4f} that actions were drawn with the logged chances ({freedom} actions)"
    return Gate(
        name="randomisation", passed=p_value >= _RANDOMISED_ALPHA, detail=detail, value=p_value,
        threshold=_RANDOMISED_ALPHA,
    )  # fmt: skip


def covariate_balance(held_out: HeldOut) -> Gate:
    """Are covariates alike in who was contacted and who was not, given the chances?

    The largest |z| of sum of w c phi_k(x), c = 1[contacted] - P(contacted), over basis functions, against its Bonferroni
    bound. It fails where covariates were measured after the decision, or were moved by earlier contact (held-out customers
    were never contacted).
    """
    found, number = float(np.abs(held_out.imbalance).max()), len(held_out.imbalance)
    bound = float(ndtri(1 - _RANDOMISED_ALPHA / 2 / number))
    detail = f"largest imbalance {found:.1f} standard errors over {number} functions of the covariates"
    return Gate(name="covariate_balance", passed=found <= bound, detail=detail, value=found, threshold=bound)


def mean_effect(held_out: HeldOut) -> Gate:
    """Is the mean of the predicted effects within the interval of the mean doubly robust score, for each action?

    The error is the larger of the clustered one and of pooled_error: a few draws of a rare action seem surer than they are.
    """
    told, worst = [], 0.0
    reach = float(ndtri(1 - _ALPHA / 2 / max(len(held_out.trials.actions), 1)))
    for number, action in enumerate(held_out.trials.actions):
        found = mean_score(held_out, held_out.reward.score[:, number] - held_out.reward.effect[:, number])
        score = mean_score(held_out, held_out.reward.score[:, number])
        if found is None or score is None or found[1] == 0:
            continue
        pooled = pooled_error(held_out, held_out.reward, number)
        reached = reach * max(score[1], pooled)
        told.append(f"{action}: model {score[0] - found[0]:.1f}, trials {score[0]:.1f} +- {reached:.1f}")
        worst = max(worst, abs(found[0]) / max(found[1], pooled))
    if not told:
        return Gate(name="mean_effect", passed=None, detail="no action could be compared with no contact")
    detail = "mean effect in minor units: " + "; ".join(told)
    return Gate(name="mean_effect", passed=worst <= reach, detail=detail, value=worst, threshold=reach)


def calibration(held_out: HeldOut) -> Gate:
    """Do effects differ between customers as foretold? The slope of held-out effects on predictions should be 1.

    Regression of the residual on sum_a c_a mean effect_a and sum_a c_a (effect_a(x) - mean effect_a), c_a = 1[drawn a] - e_a:
    the least-noise form of regressing doubly robust scores on predictions. A slope below 1 says that differences are
    exaggerated, and fails where it is surely below 0.8; above 1, that they are too timid.
    Reference: Chernozhukov et al., Econometrica 93 (2025).
    """
    found = slopes(held_out, held_out.reward)
    if found is None:
        detail = "predicted effects hardly differ between customers: there is nothing to calibrate"
        return Gate(name="effect_calibration", passed=None, detail=detail)
    slope, error = found
    low, high = slope - ndtri(1 - _ALPHA / 2) * error, slope + ndtri(1 - _ALPHA / 2) * error
    detail = f"slope {slope:.2f} [{low:.2f}, {high:.2f}] of held-out effects on predicted differences between customers"
    return Gate(
        name="effect_calibration",
        passed=bool(high >= _LEAST_SLOPE),
        detail=detail,
        value=float(slope),
        threshold=_LEAST_SLOPE,
    )


def no_harm_in_scale(held_out: HeldOut) -> Gate:
    """Do the individual effects foretell held-out trials no worse than one constant per action?

    Difference in R-loss, sum of w (r - sum_a c_a effect_a)^2. It fails where the model is surely worse.
    """
    detail, gain, error = r_gain(held_out, held_out.centre(held_out.reward.effect), "one effect for all")
    passed = None if error == 0 else bool(gain >= -ndtri(1 - _ALPHA) * error)
    return Gate(name="individual_effects", passed=passed, detail=detail, value=gain, threshold=0.0)


def final_stage(held_out: HeldOut) -> Gate:
    """Would boosted trees have foretold held-out trials surely better? Then the basis misses something. Never stops."""
    if held_out.reward.boosted is None:
        return Gate(name="final_stage", passed=None, detail="too few trials for boosted trees to compare with")
    detail, gain, error = r_gain(held_out, held_out.reward.boosted, "boosted trees")
    if error > 0 and gain < -ndtri(1 - _ALPHA) * error:
        detail += "; trees are surely better: effects bend in ways that the basis lacks"
    return Gate(name="final_stage", passed=None, detail=detail, value=gain, threshold=0.0)


def monotone(held_out: HeldOut, offers: pl.DataFrame, redeemed: pl.DataFrame | None = None) -> Gate:
    """Is a larger face value of the same mechanic redeemed surely less often than the next smaller? Then something is wrong.

    Difference of mean inverse-propensity scores of redemption (of conversion, where redemption is not given).
    """
    trials = held_out.trials
    outcome, what = _redeemed(trials, redeemed)
    known = offers.filter(pl.col("action").is_in(trials.actions)).sort("mechanic", "face_value_minor", "action")
    pairs = [
        (lower["action"], upper["action"])
        for lower, upper in zip(known.iter_rows(named=True), known[1:].iter_rows(named=True), strict=False)
        if lower["mechanic"] == upper["mechanic"] and lower["face_value_minor"] < upper["face_value_minor"]
    ]
    if not pairs:
        return Gate(name="monotone", passed=None, detail="no two face values of one mechanic were tried")
    bound, told, worst = float(ndtri(1 - _ALPHA / len(pairs))), [], -np.inf
    for lower, upper in pairs:
        small, large = (trials.actions.index(name) for name in (lower, upper))
        found = mean_score(held_out, _weighted(trials, large, outcome) - _weighted(trials, small, outcome))
        if found is None or found[1] == 0:
            continue
        told.append(f"{upper} less {lower}: {found[0]:+.4f} +- {bound * found[1]:.4f}")
        worst = max(worst, -found[0] / found[1])
    if not told:
        return Gate(name="monotone", passed=None, detail="no two face values of one mechanic were possible together")
    detail = f"{what} of larger against smaller face values: " + "; ".join(told)
    return Gate(name="monotone", passed=bool(worst <= bound), detail=detail, value=float(worst), threshold=bound)


def placebo_effect(held_out: HeldOut, placebo: pl.DataFrame | None) -> Gate:
    """Does the action drawn "change" the reward of before the decision? It can't; if it seems to, the draw was not random."""
    if placebo is None:
        return Gate(name="placebo", passed=None, detail="no reward of before the decisions was given")
    trials = held_out.trials
    before = trials.frame.select("decision_id").join(placebo, on="decision_id", how="left", maintain_order="left")
    values = before["placebo_minor"].cast(pl.Float64).fill_null(before["placebo_minor"].mean()).to_numpy()
    centred = values - np.average(values, weights=held_out.weight)
    scores = by_customer(trials, trials.contrast * (held_out.weight * centred)[:, None])
    statistic, freedom = wald(scores)
    p_value = float(chdtrc(freedom, statistic)) if freedom else 1.0
    detail = f"p = {p_value:.4f} that actions have nothing to do with the reward of before ({freedom} actions)"
    return Gate(name="placebo", passed=p_value >= _ALPHA, detail=detail, value=p_value, threshold=_ALPHA)


def _redeemed(trials: Trials, redeemed: pl.DataFrame | None) -> tuple[Matrix, str]:
    if redeemed is None:
        return trials.frame["converted"].to_numpy().astype(np.float64), "conversion (redemptions were not given)"
    joined = trials.frame.select("decision_id").join(redeemed, on="decision_id", how="left", maintain_order="left")
    return joined["redeemed"].fill_null(False).to_numpy().astype(np.float64), "redemption"


def _weighted(trials: Trials, action: int, outcome: Matrix) -> Matrix:
    """[n]: 1[drawn a] y / e_a; NaN where the action was impossible."""
    chance = trials.chance[:, action]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(chance > 0, np.where(trials.drawn == action, outcome / chance, 0.0), np.nan)
