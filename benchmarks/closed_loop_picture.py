"""The picture of `benchmarks.closed_loop`: profit by wave in each world, beside other ways to decide.

python -m benchmarks.closed_loop_picture --json FILE [FILE ...] --out FILE.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS: Final = {"oracle": "#444444", "by redemption": "#b8860b", "random": "#999999", "by habit": "#c06090"}
OURS: Final = "#1f6fb2"


def draw(found: dict[str, Any]) -> Figure:
    """One panel a scenario: mean of the seeds with their range, and the other ways; below, how many waves were launched."""
    figure = Figure(figsize=(3.4 * len(found), 3.6), layout="constrained")
    figure.suptitle("SIMULATED: profit per 1,000 customers by wave, currency units", fontsize=11)
    for axes, (name, own) in zip(np.atleast_1d(figure.subplots(1, len(found))), found.items(), strict=True):
        panel(axes, name, own)
    return figure


def panel(axes: Axes, name: str, own: dict[str, Any]) -> None:
    runs = list(own["seeds"].values())
    profits = np.array([run["profit"] for run in runs])
    waves = np.arange(1, profits.shape[1] + 1)
    for way, values in own["beside"].items():
        axes.plot(waves, values, color=COLOURS[way], linewidth=1.2, linestyle="--", label=way)
    axes.fill_between(waves, profits.min(axis=0), profits.max(axis=0), color=OURS, alpha=0.2, linewidth=0)
    axes.plot(waves, profits.mean(axis=0), color=OURS, linewidth=2.2, label=f"mktgen, {len(runs)} seeds")
    axes.axhline(0, color="black", linewidth=0.8)
    launched = sum(run["stages"].count("launched") for run in runs) / profits.size
    axes.set_title(f"{name}: {launched:.0%} of waves launched", fontsize=10)
    shown = [profits, np.array(own["beside"]["oracle"]), np.array(own["beside"]["by redemption"])]
    low, high = min(float(one.min()) for one in shown), max(float(one.max()) for one in shown)
    room = 0.15 * (high - low)
    axes.set_ylim(low - room, high + room)  # habit and chance may fall far below
    axes.set_xlabel("wave")
    axes.set_xticks(waves)
    axes.legend(fontsize=7, loc="best")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, nargs="+", required=True, help="what closed_loop wrote")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    found: dict[str, Any] = {}
    for path in arguments.json:
        found |= json.loads(path.read_text())
    draw(found).savefig(arguments.out, dpi=110)


if __name__ == "__main__":
    main()
