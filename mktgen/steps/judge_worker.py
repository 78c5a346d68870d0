"""A process that judges: `python -m mktgen.steps.judge_worker --job DIR --kinds A B` (workers.py starts it).

Several stand side by side on the same job. A kind is judged by whoever puts its name down first; who does makes no difference.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import polars as pl

from mktgen import models
from mktgen.steps.handover import hand_over, taken_over
from mktgen.steps.judging import Material, judge
from mktgen.steps.workers import die_with_parent


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", type=Path, required=True)
    parser.add_argument("--kinds", nargs="+", required=True)
    arguments = parser.parse_args()
    die_with_parent()
    judge_all(arguments.job, arguments.kinds)


def judge_all(job: Path, kinds: list[str]) -> None:
    """Judge those of `kinds` that nobody else has begun."""
    material, scores = taken_over(job / "material", Material), pl.read_parquet(job / "sample_scores.parquet")
    for kind in kinds:
        try:
            (job / "begun" / kind).touch(exist_ok=False)
        except FileExistsError:
            continue
        started = time.monotonic()
        model = models.model_class(kind).load(job / "models" / kind)
        hand_over(job / "judged" / kind, judge(model, material, scores.filter(kind=kind).drop("kind")))
        print(f"[{kind}] judged in {time.monotonic() - started:.1f} s", flush=True)


if __name__ == "__main__":
    main()
