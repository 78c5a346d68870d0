"""Calibration plots: what was predicted against what happened, in ten groups of equal size by prediction."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from benchmarks.complete_journey.intervals import Floats

GROUPS: Final = 10


def groups(outcome: Floats, predicted: Floats) -> tuple[Floats, Floats]:
    """Mean prediction and mean outcome of each tenth of the rows, by prediction; ties by row."""
    parts = np.array_split(np.argsort(predicted, kind="stable"), GROUPS)
    filled = [part for part in parts if part.size]
    return np.array([predicted[part].mean() for part in filled]), np.array([outcome[part].mean() for part in filled])


def draw(name: str, outcome: Floats, predictions: dict[str, Floats], place: Path) -> None:
    """One png in `place`, named after the task; the diagonal is perfect calibration."""
    place.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.subplots()
    top = 0.0
    for row, predicted in predictions.items():
        x, y = groups(outcome, predicted)
        axes.plot(x, y, marker="o", markersize=4, linewidth=1, label=row)
        top = max(top, float(x.max()), float(y.max()))
    axes.plot([0, top], [0, top], color="grey", linewidth=0.8, linestyle="--")
    axes.set(title=name, xlabel="predicted (mean of a tenth)", ylabel="observed")
    axes.legend(fontsize=8)
    slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    figure.savefig(place / f"calibration_{slug}.png", dpi=120, metadata={"Software": None})
