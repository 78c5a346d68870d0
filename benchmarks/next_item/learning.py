"""One training of the benchmark's network."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch

from benchmarks.next_item.checkpoints import DirectoryCheckpoints
from benchmarks.next_item.data import Sequences, every
from benchmarks.next_item.metrics import means
from benchmarks.next_item.network import NextItem, Recipe, SequenceCourse, answers
from mktgen.models._processes import processes, reproducible
from mktgen.models._trainer import Plan, Trainer
from mktgen.models.base import Session

_JUDGED: Final = 2_000  # about so many questions of the validation part are asked after each epoch, all at the end


@dataclass(frozen=True)
class How:
    """name: of the training, for its checkpoints under `place` (None: none are kept). metric: chooses the epoch.

    change: takes parts of the new network out or puts others in, for an ablation; `name` must tell such networks apart.
    """

    name: str
    metric: str
    threads: int
    precision: torch.dtype
    place: Path | None = None
    change: Callable[[NextItem], None] = lambda network: None


def learn(data: Sequences, recipe: Recipe, seed: int, how: How, judged: bool = True) -> tuple[NextItem, int]:
    """The network, and the epoch that was kept: the best on the validation part, the last where it isn't judged."""
    with processes() as group, reproducible(how.threads):
        torch.manual_seed(seed)
        network = NextItem(data.items, recipe)
        how.change(network)
        plan = Plan(
            epochs=recipe.epochs,
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            checkpoint_every=200,
            identity=json.dumps([how.name, asdict(recipe), seed, group.size, str(how.precision)]),
            parts={"next": 1.0},
            average=recipe.average,
            precision=how.precision,
        )
        sample = every(data.validation, max(1, data.validation.target.size // _JUDGED))

        def judge() -> float:
            return means(answers(network, data, sample, 20), sample.target)[how.metric]

        place = how.place / f"{how.name}-{seed}" if how.place else None
        session = Session(seed, DirectoryCheckpoints(place), lambda line: print(f"  {line}", flush=True))
        course = SequenceCourse(data, recipe, seed)
        progress = Trainer(network, course, plan, session, group, judge if judged else None).run()
    judgements = progress.curves.get("judgement", [])
    kept = int(np.argmax(judgements)) + 1 if judgements else recipe.epochs
    for speed, values in progress.speeds.items():
        print(f"  {speed}: median {statistics.median(values):,.3f}")
    return network, kept
