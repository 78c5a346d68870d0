"""A training in a process of its own, for tests that kill it or run several: python -m tests.models.train_process."""

from __future__ import annotations

import argparse
import os
import shutil
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from mktgen.models import model_class
from mktgen.models.base import Session
from mktgen.settings import LstmSettings, ModelSettings, TransformerSettings
from tests.support.shop import make_shop

CUT = date(2017, 6, 4)
SMALL = {"width": 16, "events": 24, "epochs": 2, "batch_customers": 8, "min_item_lines": 3}
SETTINGS = ModelSettings(
    threads=1,
    checkpoint_every=2,
    transformer=TransformerSettings.model_validate(SMALL),
    lstm=LstmSettings.model_validate(SMALL),
)


@dataclass(frozen=True)
class DirectoryCheckpoints:
    """Checkpoints as a folder that is swapped in whole; `pause` seconds after each save give a killer its chance."""

    directory: Path
    pause: float = 0.0

    def load(self) -> dict[str, bytes] | None:
        if not self.directory.exists():
            return None
        return {path.name: path.read_bytes() for path in self.directory.iterdir()}

    def save(self, files: dict[str, bytes]) -> None:
        fresh = self.directory.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        for name, body in files.items():
            (fresh / name).write_bytes(body)
        shutil.rmtree(self.directory, ignore_errors=True)
        fresh.rename(self.directory)
        print("saved", flush=True)
        time.sleep(self.pause)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind")
    parser.add_argument("checkpoints", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--sharding", default="replicated")
    parser.add_argument("--batch", type=int, default=SMALL["batch_customers"])
    parser.add_argument("--accumulate", type=int, default=1)
    parser.add_argument("--negatives", type=int, default=0)
    args = parser.parse_args()
    changes = {"batch_customers": args.batch, "accumulate": args.accumulate, "negatives": args.negatives}
    recipe = SETTINGS.transformer.model_copy(update=changes)
    settings = SETTINGS.model_copy(update={"sharding": args.sharding, "transformer": recipe})
    model = model_class(args.kind)()
    lines: list[str] = []
    session = Session(7, DirectoryCheckpoints(args.checkpoints, args.pause), lines.append)
    model.fit(make_shop(customers=24, items=40, days=150).training_set(CUT, cuts=3), settings, session)
    model.save(args.out / f"rank{os.environ.get('RANK', '0')}")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
