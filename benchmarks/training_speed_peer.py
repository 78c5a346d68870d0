"""RecTools' SASRec on the sequences in a file, timed step by step; runs in the peer's own environment (see training_speed.py).

    python training_speed_peer.py SEQUENCES.npz --threads 2 --batch 31 --steps 12

SEQUENCES.npz: item [E], first [S + 1]; a sequence's events are first[s]:first[s + 1], in order of time.
"""

import argparse
import json
import resource
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Callback, Trainer
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

WARM = 2  # steps before the clock starts
EVENTS = 200
SHAPE = {"n_factors": 128, "n_blocks": 2, "n_heads": 2}


class Clock(Callback):
    """Real tokens, wall and processor seconds of the steps after the first `WARM`; loading of batches included."""

    def __init__(self) -> None:
        self.tokens, self.places, self.started, self.wall, self.cpu = 0, 0, (0.0, 0.0), 0.0, 0.0

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: dict[str, torch.Tensor], batch_idx: int
    ) -> None:
        if batch_idx + 1 == WARM:
            self.started = (time.perf_counter(), time.process_time())
        if batch_idx >= WARM:
            self.tokens += int((batch["y"] > 0).sum())
            self.places += batch["y"].numel()
            self.wall, self.cpu = time.perf_counter() - self.started[0], time.process_time() - self.started[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sequences")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    with np.load(arguments.sequences) as file:
        item, first = file["item"], file["first"]
    sizes = np.diff(first)
    rows = pd.DataFrame(
        {
            Columns.User: np.repeat(np.arange(sizes.size), sizes),
            Columns.Item: item,
            Columns.Weight: 1.0,
            Columns.Datetime: pd.Timestamp("2000-01-01") + pd.to_timedelta(np.arange(item.size), unit="s"),
        }
    )

    def trainer() -> Trainer:
        return Trainer(
            accelerator="cpu", devices=1, max_epochs=1, limit_train_batches=WARM + arguments.steps, callbacks=[Clock()],
            logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip

    model = SASRecModel(
        **SHAPE, session_max_len=EVENTS, dropout_rate=0.2, loss="softmax", batch_size=arguments.batch,
        get_trainer_func=trainer,
    )  # fmt: skip
    model.fit(Dataset.construct(rows))
    clock = next(each for each in model.fit_trainer.callbacks if isinstance(each, Clock))  # the model copied it
    facts = {
        "tokens": clock.tokens, "places": clock.places, "wall": clock.wall, "cpu": clock.cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
