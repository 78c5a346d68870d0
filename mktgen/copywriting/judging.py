"""A copywriter against another, on the cells that are kept from training: who is let pass more often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy import stats

from mktgen.copywriting.forms import Language
from mktgen.copywriting.lessons import cells, kept_back
from mktgen.copywriting.phrasing import Phraser
from mktgen.copywriting.request import Request
from mktgen.copywriting.wording import Wording
from mktgen.documents import Interval

LEVEL: Final = 0.95
# Answers by cell; None: one that the verifier refused, or none.
Answers = dict[Request, list[Wording | None]]


def judged_cells(language: Language) -> list[Request]:
    """The cells that are kept from training, in order."""
    return [cell for cell in cells(language) if kept_back(cell.key)]


def answers(phraser: Phraser, language: Language, each: int) -> Answers:
    """`each` answers for every judged cell, which are all wanted; when the time is over, None for the rest."""
    asked = judged_cells(language)
    phraser.tally.wanted += each * len(asked)
    return {cell: [phraser.attempt(cell, number) for number in range(each)] for cell in asked}


def drafts(found: Answers) -> list[Wording]:
    """The different verified wordings, in order of id."""
    unlike = {one.id: one for said in found.values() for one in said if one is not None}
    return [unlike[name] for name in sorted(unlike)]


def verified_difference(challenger: Answers, champion: Answers) -> Interval:
    """By how much more of the challenger's answers are verified, with a 95% interval.

    What: mean over cells of the difference of the verified shares. Formula: mean +- t sd / sqrt(cells), Student's t with cells
    - 1 degrees of freedom. Assumption: the cells kept back are like those asked for, and independent; answers of one cell are
    not taken to be. When it fails: few cells, or shares near 0 or 1, where the interval may reach beyond what is possible.
    Reference: Student, "The probable error of a mean", 1908. Raises ValueError where the cells differ or are fewer than two.
    """
    if challenger.keys() != champion.keys() or len(challenger) < 2:
        raise ValueError("two copywriters are compared on the same cells, two at least")
    gains = np.array([_share(challenger[cell]) - _share(champion[cell]) for cell in challenger])
    half = float(stats.t.ppf((1 + LEVEL) / 2, gains.size - 1) * gains.std(ddof=1) / np.sqrt(gains.size))
    mean = float(gains.mean())
    return Interval(value=mean, low=mean - half, high=mean + half, method=f"Student's t over {gains.size} cells")


def _share(said: Sequence[Wording | None]) -> float:
    return sum(one is not None for one in said) / len(said)
