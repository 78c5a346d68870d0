"""Customer features as network inputs: signed log1p, standardised on the examples a model learned from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mktgen import contracts
from mktgen.errors import CorruptArtefact, PermanentError

FEATURES: Final = tuple(n for n, kind in contracts.CUSTOMER_FEATURES.columns.items() if kind == pl.Float64)
_CLIP: Final = 8.0  # standard deviations: one odd customer must not drown the rest


@dataclass(frozen=True)
class Normalisation:
    """mean, scale: [FEATURES], of the signed log1p of each feature."""

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def learn(cls, examples: pl.DataFrame) -> Self:
        """Raises PermanentError where there are no examples."""
        if examples.is_empty():
            raise PermanentError("there are no labelled examples to learn from; train on a later day")
        values = _logs(examples)
        scale = values.std(axis=0)
        return cls(values.mean(axis=0), np.where(scale > 1e-9, scale, 1.0))

    def apply(self, frame: pl.DataFrame) -> NDArray[np.float32]:
        """[rows, FEATURES]; null and NaN count as 0, nothing seen."""
        return np.clip((_logs(frame) - self.mean) / self.scale, -_CLIP, _CLIP).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        rows = zip(FEATURES, self.mean, self.scale, strict=True)
        return {name: {"mean": float(mean), "scale": float(scale)} for name, mean, scale in rows}

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Self:
        """Raises CorruptArtefact where the model was trained on other features than today's."""
        if set(body) != set(FEATURES):
            odd = sorted(set(body) ^ set(FEATURES))
            raise CorruptArtefact(f"the model was trained on other customer features ({odd} differ); train it again")
        return cls(np.array([body[n]["mean"] for n in FEATURES]), np.array([body[n]["scale"] for n in FEATURES]))


def _logs(frame: pl.DataFrame) -> NDArray[np.float64]:
    values = frame.select(pl.col(FEATURES).fill_null(0.0).fill_nan(0.0)).to_numpy().astype(np.float64)
    logs: NDArray[np.float64] = np.sign(values) * np.log1p(np.abs(values))
    return logs
