"""From randomised sends to a posterior over what customers like in wordings.

What: Bayesian logistic regression of clicks, with variances learned from the data: Gibbs' sampler over the variances of three
blocks (traits in common, by tone, a wording's own part) and, given these, Laplace's approximation of the coefficients.
Formula: within a group g (a day, a pool of wordings, a segment) every message was drawn from the same chances p;
logit P(click) = a_g + z . b, z = phi(w) - sum_v p_v phi(v), a_g ~ N(overall, INTERCEPT_SD^2), b ~ N(0, variance of its block).
A group's intercept takes all that its customers, day and offer have in common, and centring by the logged chances keeps it
apart from what was drawn: only comparisons inside one draw teach, so nothing has to be weighted by 1 / p. A block's variance is
inverse gamma, PRIOR_WEIGHT coefficients of PRIOR_SD strong. With variances
taken for known, bands of 95% over all traits held in 8 of 12 worlds.
Assumption: the wording was drawn with the chances that were logged, and a click is of the message that it was made on.
When it fails: with a handful of clicks the prior speaks. Several messages of one customer count as independent.
Reference: Gelman et al., Bayesian Data Analysis, ch. 13 and 16; MacKay (1992), Neural Computation 4; Robinson (1988).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit, logit

from mktgen.contracts import WORDING_TRIALS
from mktgen.copywriting.preference import Floats, Preference, design, tone_of
from mktgen.copywriting.traits import TRAITS, matrix
from mktgen.copywriting.wording import TONES, Wording
from mktgen.errors import PermanentError

INTERCEPT_SD: Final = 1.0  # of the logits of groups
# Of coefficients before anything is known, by block: a trait changes the odds by a third, more or less by half of that in a
# tone; what sets a wording apart beyond its traits changes them by a tenth.
PRIOR_SD: Final = np.array([0.3, 0.15, 0.1])
PRIOR_WEIGHT: Final = 4.0
_BLOCKS: Final = 3
_WARM: Final = 5  # rounds of the sampler that are thrown away
_ROUNDS: Final = 25  # and kept
_EACH: Final = 80  # draws of a round; they share its variances
_STEPS: Final = 40  # of Newton, at most
_NEAR: Final = 1e-3  # Newton ends where no logit moves by more: far less than is known of any
GROUP: Final = ("decided_on", "cell", "segment_id")


class TooFewClicks(PermanentError):
    """Nothing can be learned of these sends; the message says what is missing."""


@dataclass(frozen=True)
class _Rows:
    """One row per group and wording that was sent. z [N, P], group [N], sends and clicks [N], block [P]."""

    z: Floats
    group: NDArray[np.int64]
    sends: Floats
    clicks: Floats
    block: NDArray[np.int64]


def wording_of(row: dict[str, object]) -> Wording:
    """The wording of a row of contracts.WORDING_POOL or WORDING_TRIALS."""
    form, language, subject, body, origin = (row[name] for name in ("form", "language", "subject", "body", "origin"))
    return Wording(form, language, tone_of(str(row["tone"])), subject, body, origin)  # type: ignore[arg-type]


def fit(trials: pl.DataFrame, min_clicks: int, seed: int = 0) -> Preference:
    """The posterior after contracts.WORDING_TRIALS. Raises TooFewClicks where fewer than `min_clicks` were clicked, or no
    message had two wordings to be drawn from. `seed`: chance of the sampler."""
    trials = drawn_trials(WORDING_TRIALS.check(trials))
    sends, clicks = int(trials["sends"].sum()), int(trials["clicks"].sum())
    if clicks < min_clicks or clicks == sends:
        raise TooFewClicks(f"{clicks} of {sends} randomised messages were clicked; {min_clicks} clicks are needed")
    names = trials["wording_id"].unique().sort().to_list()
    wordings = {row["wording_id"]: wording_of(row) for row in trials.unique("wording_id").iter_rows(named=True)}
    rows, tone, traits = _rows(trials, names, wordings)
    overall = float(logit(clicks / sends))
    intercepts, draws, spread = _sampled(rows, overall, np.random.default_rng(seed))
    by_tone = [_of_tone(rows, tone == number, traits, intercepts, overall) for number in range(len(TONES))]
    return Preference(
        wordings=tuple(names),
        draws=draws.astype(np.float32),
        spread=spread.astype(np.float32),
        base=np.array([base for base, _, _ in by_tone]),
        typical=np.stack([typical for _, typical, _ in by_tone]),
        share=np.array([share for _, _, share in by_tone]),
        sends=sends,
        clicks=clicks,
    )


def drawn_trials(trials: pl.DataFrame) -> pl.DataFrame:
    """Of trials those whose wording was one of several: a single one was not drawn and says nothing of words."""
    return trials.filter((pl.len() > 1).over(GROUP), (pl.col("sends").sum() > 0).over(GROUP)).sort(*GROUP, "wording_id")


def _rows(
    trials: pl.DataFrame, names: list[str], wordings: dict[str, Wording]
) -> tuple[_Rows, NDArray[np.int64], Floats]:
    """The rows; tone and traits [N, K] of each."""
    place = {name: number for number, name in enumerate(names)}
    at = trials["wording_id"].replace_strict(place, return_dtype=pl.Int64).to_numpy()
    every = matrix([wordings[name] for name in names])
    own = np.eye(len(names))
    tone_of_name = np.array([TONES.index(wordings[name].tone) for name in names], dtype=np.int64)
    features = np.concatenate([design(every, tone_of_name), own], axis=1)[at]
    group = trials.select(pl.struct(GROUP).rank("dense").cast(pl.Int64) - 1).to_series().to_numpy()
    chance = trials["chance"].to_numpy()
    means = np.zeros((int(group.max()) + 1, features.shape[1]))
    np.add.at(means, group, chance[:, None] * features)
    sends = trials["sends"].to_numpy().astype(np.float64)
    was_sent = sends > 0
    kinds = len(TRAITS)
    block = np.repeat([0, 1, 2], [kinds, kinds * len(TONES), len(names)])
    rows = _Rows(
        (features - means[group])[was_sent], group[was_sent], sends[was_sent],
        trials["clicks"].to_numpy().astype(np.float64)[was_sent], block,
    )  # fmt: skip
    return rows, tone_of_name[at][was_sent], every[at][was_sent]


def _sampled(rows: _Rows, overall: float, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Intercepts [G] in the mean; draws of the coefficients [D, P], and of the own part's standard deviation [D]."""
    groups, kinds = int(rows.group.max()) + 1, rows.z.shape[1]
    intercepts, mean = np.full(groups, overall), np.zeros(kinds)
    variance, sizes = PRIOR_SD**2, np.bincount(rows.block, minlength=_BLOCKS)
    total, draws, spread = np.zeros(groups), [], []
    for number in range(_WARM + _ROUNDS):
        intercepts, mean, covariance = _mode(rows, overall, intercepts, mean, variance[rows.block])
        each = mean + rng.standard_normal((_EACH, kinds)) @ np.linalg.cholesky(covariance).T
        if number >= _WARM:
            draws.append(each)
            spread.append(np.full(_EACH, np.sqrt(variance[-1])))
            total += intercepts / _ROUNDS
        squares = np.bincount(rows.block, weights=each[0] ** 2, minlength=_BLOCKS) + PRIOR_WEIGHT * PRIOR_SD**2
        variance = squares / rng.chisquare(sizes + PRIOR_WEIGHT)
    return total, np.concatenate(draws), np.concatenate(spread)


def _mode(
    rows: _Rows, overall: float, intercepts: Floats, mean: Floats, variance: Floats
) -> tuple[Floats, Floats, Floats]:
    """Newton's steps to the posterior's mode; the coefficients' covariance there. Intercepts are eliminated (Schur)."""
    groups, prior = len(intercepts), 1.0 / INTERCEPT_SD**2
    starts = np.flatnonzero(np.diff(rows.group, prepend=-1))  # every group has rows, side by side
    for _ in range(_STEPS):
        p = expit(intercepts[rows.group] + rows.z @ mean)
        weight, left = rows.sends * p * (1 - p), rows.clicks - rows.sends * p
        diagonal = np.bincount(rows.group, weights=weight, minlength=groups) + prior
        cross = np.add.reduceat(weight[:, None] * rows.z, starts, axis=0)
        inner = (rows.z * weight[:, None]).T @ rows.z + np.diag(1.0 / variance)
        factor = cho_factor(inner - cross.T @ (cross / diagonal[:, None]))
        of_groups = np.bincount(rows.group, weights=left, minlength=groups) - prior * (intercepts - overall)
        of_mean = rows.z.T @ left - mean / variance
        step = cho_solve(factor, of_mean - cross.T @ (of_groups / diagonal))
        shift = (of_groups - cross @ step) / diagonal
        # A first step from far away may overshoot: logits move by at most 2 at a time.
        size = min(1.0, 2.0 / max(float(np.abs(step).max(initial=0.0)), float(np.abs(shift).max()), 1e-12))
        mean, intercepts = mean + size * step, intercepts + size * shift
        if max(float(np.abs(step).max(initial=0.0)), float(np.abs(shift).max())) < _NEAR:
            break
    covariance = cho_solve(factor, np.eye(len(mean)))
    return intercepts, mean, (covariance + covariance.T) / 2


def _of_tone(
    rows: _Rows, own: NDArray[np.bool_], traits: Floats, intercepts: Floats, overall: float
) -> tuple[float, Floats, float]:
    """Base logit, mean traits and share of the sends of one tone; of everything where nothing was sent in it."""
    used = own if own.any() else np.ones(len(own), dtype=np.bool_)
    weight = rows.sends * used
    base = float(np.average(intercepts[rows.group], weights=weight)) if own.any() else overall
    share = float((rows.sends * own).sum() / rows.sends.sum())
    return base, np.asarray(np.average(traits, axis=0, weights=weight), dtype=np.float64), share
