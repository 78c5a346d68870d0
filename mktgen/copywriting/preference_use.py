"""What a posterior over wordings is used for beside the choice: pairs to tune a model on, a judge of drafts, a report."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import combinations
from math import sqrt
from typing import Any, Final

import numpy as np
import polars as pl

from mktgen.contracts import WORDING_PAIRS
from mktgen.copywriting.preference import Preference, design
from mktgen.copywriting.preference_fit import drawn_trials, wording_of
from mktgen.copywriting.traits import TRAITS
from mktgen.copywriting.wording import TONES, Wording
from mktgen.documents import Interval, TraitLine, WordingLine

_Z: Final = 1.959963984540054
_CELL: Final = ("form", "language", "tone", "slots")


def held_out(segment_id: str, share: float) -> bool:
    """Whether a segment's answers are kept from a model's tuning, so that drafts can be judged by them: the same for ever."""
    point = int.from_bytes(hashlib.sha256(f"held out of tuning: {segment_id}".encode()).digest()[:8], "big") / 2**64
    return point < share


def split(trials: pl.DataFrame, share: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """contracts.WORDING_TRIALS of the segments that a model may be tuned on, and of those that are held out."""
    apart = [name for name in trials["segment_id"].unique() if held_out(name, share)]
    return trials.filter(~pl.col("segment_id").is_in(apart)), trials.filter(pl.col("segment_id").is_in(apart))


def expected_gain(
    judge: Preference, challenger: Sequence[Wording], champion: Sequence[Wording], seed: int
) -> Interval | None:
    """By how much more the challenger's wordings are expected to be clicked than the champion's: a difference of click rates.

    What: the mean over tones of the mean rate of the one's drafts less that of the other's, tones by their share of the sends
    that `judge` saw. Formula: 2.5% to 97.5% of its posterior draws. Assumption: judge was fitted on segments whose answers
    tuned neither (`split`); drafts are sent evenly. When it fails: drafts are known by their traits alone, so what sets a
    wording apart beyond them is noise here; the base rate is taken as known. None: no form, language and tone in common.
    Reference: as preference.py.
    """
    gains, weights = [], []
    for key in sorted({_key(one) for one in challenger} & {_key(one) for one in champion}):
        sides = [[one for one in wordings if _key(one) == key] for wordings in (challenger, champion)]
        rates = judge.rates([*sides[0], *sides[1]], seed)
        gains.append(rates[:, : len(sides[0])].mean(axis=1) - rates[:, len(sides[0]) :].mean(axis=1))
        weights.append(float(judge.share[TONES.index(sides[0][0].tone)]))
    if not sum(weights):
        return None
    gain = np.average(np.stack(gains), axis=0, weights=weights)
    low, high = np.quantile(gain, [0.025, 0.975])
    return Interval(value=float(gain.mean()), low=float(low), high=float(high), method="posterior draws")


def preference_pairs(preference: Preference, trials: pl.DataFrame, sure_from: float, seed: int) -> pl.DataFrame:
    """contracts.WORDING_PAIRS: of two wordings of one cell that were both sent, the one that is clicked more with a
    probability of at least `sure_from`; weight: 1 where that is certain, 0 at even odds. `preference`: fitted on `trials`."""
    rows: list[dict[str, Any]] = []
    sent = drawn_trials(trials).filter(pl.col("sends") > 0).unique([*_CELL, "wording_id"]).sort(*_CELL, "wording_id")
    for key, cell in sent.group_by(_CELL, maintain_order=True):
        wordings = [wording_of(row) for row in cell.iter_rows(named=True)]
        logits = preference.logits(wordings, seed)
        for one, other in combinations(range(len(wordings)), 2):
            better = float((logits[:, one] > logits[:, other]).mean())
            chosen, rejected = (one, other) if better >= 0.5 else (other, one)
            if max(better, 1 - better) >= sure_from:
                rows.append(
                    dict(zip(_CELL, key, strict=True))
                    | {f"chosen_{part}": getattr(wordings[chosen], part) for part in ("subject", "body")}
                    | {f"rejected_{part}": getattr(wordings[rejected], part) for part in ("subject", "body")}
                    | {"weight": abs(2 * better - 1)}
                )
    return WORDING_PAIRS.check(pl.DataFrame(rows, schema=WORDING_PAIRS.columns))


# -- the report ---------------------------------------------------------------------------------------------------------
def trait_lines(preference: Preference) -> list[TraitLine]:
    """What each trait changes, over all tones by their share of the sends.

    What: the change of the log odds of a click. Formula: posterior mean, and a band that holds all traits at once with 95%:
    mean +- q sd, q the 95% quantile over draws of the largest |draw - mean| / sd. Assumption: as preference.py. When it
    fails: traits that always come together can't be told apart, and both are then uncertain.
    Reference: Montiel Olea and Plagborg-Moller (2019), Journal of Applied Econometrics 34, on simultaneous bands.
    """
    kinds = len(TRAITS)
    by_tone = np.eye(kinds)
    mixed = sum(
        share * design(by_tone, np.full(kinds, number)) for number, share in enumerate(preference.share)
    )  # [K, K (1 + T)]
    draws = preference.draws[:, : kinds * (1 + len(TONES))].astype(np.float64) @ np.asarray(mixed).T
    mean, sd = draws.mean(axis=0), np.maximum(draws.std(axis=0), 1e-12)
    wide = float(np.quantile((np.abs(draws - mean) / sd).max(axis=1), 0.95))
    lines = []
    for number, trait in enumerate(TRAITS):
        low, high = float(mean[number] - wide * sd[number]), float(mean[number] + wide * sd[number])
        effect = Interval(value=float(mean[number]), low=low, high=high, method="simultaneous over traits, posterior")
        lines.append(TraitLine(trait=trait.name, meaning=trait.meaning, log_odds=effect, works=low > 0, harms=high < 0))
    return lines


def wording_lines(trials: pl.DataFrame) -> list[WordingLine]:
    """Click rate of each wording that was sent, as counted, with Wilson's interval; raw rates of different cells and days are
    not comparable, and none of them is a verdict."""
    text = ("form", "language", "tone", "subject", "body", "origin")
    counted = trials.group_by("wording_id").agg(pl.col("sends", "clicks").sum(), pl.col(text).first())
    rows = counted.filter(pl.col("sends") > 0).sort("language", "form", "tone", "wording_id").iter_rows(named=True)
    return [WordingLine(**row, click_rate=wilson(row["clicks"], row["sends"])) for row in rows]


def wilson(hits: int, of: int) -> Interval:
    """95% interval of a share of independent rows. Reference: Wilson (1927), JASA 22."""
    share = hits / of
    centre = (share + _Z**2 / (2 * of)) / (1 + _Z**2 / of)
    half = _Z / (1 + _Z**2 / of) * sqrt(share * (1 - share) / of + _Z**2 / (4 * of**2))
    return Interval(value=share, low=max(0.0, centre - half), high=min(1.0, centre + half), method="wilson")


def _key(wording: Wording) -> tuple[str, str, str]:
    return wording.form, wording.language, wording.tone
