"""What customers were found to like in wordings: draws of a posterior over traits and wordings, and what follows from them.

What: logit P(click) = base of the pool + (traits - the pool's mean traits) . (common + tone's own) + the wording's own part.
Formula: coefficients by the draws that preference_fit.py leaves; a wording that was never sent has the traits' part and an own
one ~ N(0, spread^2). P(best) is the share of draws in which a wording leads its pool (Thompson sampling).
Assumption: what a trait is worth depends on the tone, not on language or form; wordings beside each other don't matter.
When it fails: with few clicks everything is near even, which is right; a taste that moves within the memory is averaged over.
Reference: Thompson (1933), Biometrika 25; Chapelle and Li (2011), An empirical evaluation of Thompson sampling.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from mktgen.copywriting.traits import TRAITS, matrix
from mktgen.copywriting.wording import TONES, Tone, Wording
from mktgen.errors import CorruptArtefact

Floats = NDArray[np.float64]
FORMAT: Final = 1
_ARRAYS: Final = ("draws", "spread", "base", "typical", "share")


@dataclass(frozen=True)
class Preference:
    """draws [D, P]: traits in common, traits by tone, then one for each of `wordings` (ids, in order).

    spread [D]: standard deviation of a wording's own part. base [T]: logit of a click at the mean traits `typical` [T, K] of a
    tone; share [T]: of the sends; 0: nothing was sent in that tone, its base is that of all.
    """

    wordings: tuple[str, ...]
    draws: NDArray[np.float32]
    spread: NDArray[np.float32]
    base: Floats
    typical: Floats
    share: Floats
    sends: int
    clicks: int

    def logits(self, wordings: Sequence[Wording], seed: int) -> Floats:
        """Logits of a click [D, N]; draws belong together. `seed`: chance of what isn't known of wordings never sent."""
        tone = np.array([TONES.index(wording.tone) for wording in wordings], dtype=np.int64)
        away = matrix(wordings) - self.typical[tone]
        first = self.draws.shape[1] - len(self.wordings)
        worth = self.draws[:, :first].astype(np.float64) @ design(away, tone).T
        place = {name: number for number, name in enumerate(self.wordings)}
        for column, wording in enumerate(wordings):
            own = place.get(wording.id)
            worth[:, column] += self.draws[:, first + own] if own is not None else self._unseen(wording, seed)
        return np.asarray(self.base[tone] + worth, dtype=np.float64)

    def _unseen(self, wording: Wording, seed: int) -> Floats:
        """Own parts [D] of a wording that was never sent: the same whatever stands beside it."""
        key = int.from_bytes(hashlib.sha256(wording.id.encode()).digest()[:8], "big")
        return self.spread * np.random.default_rng([seed, key]).standard_normal(len(self.spread))

    def rates(self, wordings: Sequence[Wording], seed: int) -> Floats:
        """Click rates [D, N]."""
        return np.asarray(expit(self.logits(wordings, seed)), dtype=np.float64)

    def best(self, wordings: Sequence[Wording], seed: int) -> list[float]:
        """Of each wording the probability that it is the best of these; they sum to 1."""
        if not wordings:
            return []
        leaders = np.bincount(self.logits(wordings, seed).argmax(axis=1), minlength=len(wordings))
        return [float(count) / len(self.draws) for count in leaders]

    def to_bytes(self) -> bytes:
        """The same bytes for the same posterior: an uncompressed npz whose `header` is JSON; nothing is pickled."""
        header = {
            "format": FORMAT, "wordings": self.wordings, "traits": [trait.name for trait in TRAITS], "tones": TONES,
            "sends": self.sends, "clicks": self.clicks,
        }  # fmt: skip
        arrays: dict[str, NDArray[Any]] = {"header": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)}
        arrays |= {name: getattr(self, name) for name in _ARRAYS}
        target = io.BytesIO()
        np.savez(target, allow_pickle=False, **arrays)
        return target.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Raises CorruptArtefact where the bytes are no such posterior, or one over other traits."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as stored:
                arrays = dict(stored.items())
            header = json.loads(arrays.pop("header").tobytes())
            if (header["format"], header["traits"]) != (FORMAT, [trait.name for trait in TRAITS]):
                raise ValueError(f"format {header['format']}, traits {header['traits']}")
            return cls(
                wordings=tuple(header["wordings"]), sends=header["sends"], clicks=header["clicks"],
                **{name: arrays[name] for name in _ARRAYS},
            )  # fmt: skip
        except (ValueError, KeyError, OSError, EOFError, TypeError, zipfile.BadZipFile) as error:
            raise CorruptArtefact(f"no wording model of format {FORMAT}: {error}; learn it again") from error


def design(away: Floats, tone: NDArray[np.int64]) -> Floats:
    """Columns of the traits' coefficients [N, K (1 + T)]: in common, then by tone."""
    by_tone = [away * (tone == number)[:, None] for number in range(len(TONES))]
    return np.concatenate([away, *by_tone], axis=1)


def tone_of(name: str) -> Tone:
    """Raises StopIteration for what is no tone."""
    return next(tone for tone in TONES if tone == name)
