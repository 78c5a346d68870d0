"""A world in which what traits are worth is known: trials of wordings as the feedback collects them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit

from mktgen.contracts import WORDING_TRIALS
from mktgen.copywriting.bank import bank
from mktgen.copywriting.traits import TRAITS, matrix
from mktgen.copywriting.wording import TONES, Tone, Wording

KNOWN: Final = frozenset({"item", "also", "discount", "valid_to"})
FIRST: Final = date(2017, 7, 3)
SEGMENTS: Final[dict[str, Tone]] = {
    "s01": "reward",
    "s02": "deal",
    "s04": "everyday",
    "s05": "everyday",
    "s06": "win_back",
}


@dataclass(frozen=True)
class Taste:
    """Log odds of a click: of traits in common [K], by tone [T, K], and of wordings."""

    common: NDArray[np.float64]
    by_tone: NDArray[np.float64]
    own: dict[str, float]

    def logit(self, wordings: list[Wording]) -> NDArray[np.float64]:
        tone = [TONES.index(one.tone) for one in wordings]
        traits = matrix(wordings)
        own = np.array([self.own.get(one.id, 0.0) for one in wordings])
        return np.asarray(traits @ self.common + (traits * self.by_tone[tone]).sum(axis=1) + own, dtype=np.float64)


def wordings(tone: Tone, count: int = 6) -> list[Wording]:
    return bank("en").wordings("email", tone, KNOWN, count, "pool")


def taste(seed: int, common: float = 0.3, by_tone: float = 0.15, own: float = 0.1) -> Taste:
    rng = np.random.default_rng([seed, 7])
    kinds = len(TRAITS)
    names = [one.id for tone in TONES for one in wordings(tone)]
    return Taste(
        rng.normal(0, common, kinds), rng.normal(0, by_tone, (len(TONES), kinds)),
        dict(zip(names, rng.normal(0, own, len(names)), strict=True)),
    )  # fmt: skip


def trials(liked: Taste, seed: int, days: int = 10, sends: int = 180) -> pl.DataFrame:
    """contracts.WORDING_TRIALS: `sends` a day and segment, chances that differ from day to day, and days that are better or
    worse as a whole."""
    rng, rows = np.random.default_rng(seed), []
    for day in range(days):
        for segment, tone in SEGMENTS.items():
            pool = wordings(tone)
            chance = 0.2 / len(pool) + 0.8 * rng.dirichlet(np.ones(len(pool)))
            made = rng.multinomial(sends, chance)
            clicked = rng.binomial(made, expit(-2.5 + rng.normal(0, 0.3) + liked.logit(pool)))
            for place, one in enumerate(pool):
                rows.append(row(one, FIRST + timedelta(days=day), segment, chance[place], made[place], clicked[place]))
    return pl.DataFrame(rows, schema=WORDING_TRIALS.columns).sort(WORDING_TRIALS.key)


def row(one: Wording, day: date, segment: str, chance: float, sends: int, clicks: int) -> dict[str, object]:
    return {
        "decided_on": day, "segment_id": segment, "cell": f"en email {one.tone}", "form": one.form, "language": one.language,
        "tone": one.tone, "slots": "item also discount valid_to", "wording_id": one.id, "subject": one.subject,
        "body": one.body, "origin": one.origin, "chance": float(chance), "sends": int(sends), "clicks": int(clicks),
    }  # fmt: skip
