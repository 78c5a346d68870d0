"""Next item in full ranking, three seeds, with the untrained counter's line and the published ones.

    python -m benchmarks.next_item ml-1m --data ml-1m.txt.gz
    python -m benchmarks.next_item diginetica --data session_diginetica_train.txt.gz --test session_diginetica_test.txt.gz
    ... [--seeds 0,1,2] [--set width=64 --set epochs=2] [--checkpoints DIR] [--json FILE] [--precision float32]

Twice per seed: learned from all but the validation part, which chooses the epoch and, where the recipe mixes in evidence,
fits the mixture; then learned anew from both for as many epochs. Nothing is chosen on the test part. The lines of others
are quoted, not run; our counter is run, without the validation part and with it, as our model is.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks.next_item.counter import counter_answers
from benchmarks.next_item.data import Questions, Sequences, diginetica, halves, movielens, with_validation
from benchmarks.next_item.evidence import Evidence
from benchmarks.next_item.learning import How, learn
from benchmarks.next_item.metrics import means
from benchmarks.next_item.mixture import Mixture, fitted, mixed_answers
from benchmarks.next_item.network import NextItem, Recipe, answers
from mktgen.models._processes import low_precision_pays, reproducible

RECIPES: Final = {
    "ml-1m": Recipe(),
    "diginetica": Recipe(
        width=64, layers=1, dropout=0.25, events=20, rows=2048, epochs=4, learning_rate=6e-3, average=0.995,
        whole_history=False, exclude_seen=False, negatives=2048, cosine=12.0, half_life=0.5, evidence=True,
    ),
}  # fmt: skip
PUBLISHED: Final = {
    "ml-1m": {
        "SASRec, 1 negative (antklen/sasrec-bert4rec-recsys23)": {"HR@10": 0.2500, "NDCG@10": 0.1341},
        "SASRec+, full cross-entropy (same)": {"HR@10": 0.3152, "NDCG@10": 0.1821},
        "SASRec+, 3000 negatives (same)": {"HR@10": 0.3159, "NDCG@10": 0.1857},
    },
    "diginetica": {
        # Not from a paper: measured on these very files, with a counter of its own recipe.
        "co-transition counter (measured, in no paper)": {"HR@20": 0.4610, "MRR@20": 0.1558},
        "SR-GNN": {"HR@20": 0.5073, "MRR@20": 0.1759},
        "GCE-GNN": {"HR@20": 0.5422, "MRR@20": 0.1904},
    },
}
SHOWN: Final = {"ml-1m": ("HR@10", "NDCG@10"), "diginetica": ("HR@20", "MRR@20")}


def main() -> None:
    arguments = _arguments()
    if not arguments.data.exists() or (arguments.test and not arguments.test.exists()):
        sys.exit(
            f"{arguments.data} or {arguments.test} is missing: this benchmark needs the public file; nothing was run"
        )
    data = movielens(arguments.data) if arguments.set_name == "ml-1m" else diginetica(arguments.data, arguments.test)
    recipe = replace(RECIPES[arguments.set_name], **dict(arguments.set))
    shown = SHOWN[arguments.set_name]
    print(f"{arguments.set_name}: {data.first.size - 1} sequences, {data.items} items, {data.item.size} events")
    print(f"recipe: {recipe}")
    rows: list[dict[str, Any]] = []
    for row in counter_rows(data):
        rows.append(row)
        _print(row, shown)
    for seed in arguments.seeds:
        rows += _one_seed(data, recipe, seed, arguments)
    for name, figures in PUBLISHED[arguments.set_name].items():
        rows.append({"name": f"of others: {name}", **figures})
        _print(rows[-1], shown)
    _spread(rows, shown)
    if arguments.json:
        facts = {"recipe": asdict(recipe), "machine": platform.processor() or platform.machine(), "rows": rows}
        arguments.json.write_text(json.dumps(facts, indent=1))


def counter_rows(data: Sequences) -> Iterator[dict[str, Any]]:
    """The untrained line twice: beside the models that didn't learn the validation part, and beside those that did."""
    for name, learned in (("without", data), ("with", with_validation(data))):
        found = counter_answers(learned, data.test, 20)
        yield {"name": f"untrained transition counter, {name} the validation part", **means(found, data.test.target)}


def _one_seed(data: Sequences, recipe: Recipe, seed: int, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    shown, started = SHOWN[arguments.set_name], time.perf_counter()

    def tell(what: str, network: NextItem, asked: Questions, counted: Evidence | None, **facts: Any) -> None:
        with reproducible(arguments.threads):
            if mixture is None or counted is None:
                found = answers(network, data, asked, 20)
            else:
                found = mixed_answers(network, counted, mixture, data, asked, 20)
        seconds = round(time.perf_counter() - started, 1)
        name = f"ours, seed {seed}, {what}"
        rows.append({"name": name, **facts, "seconds": seconds, **means(found, asked.target)})
        _print(rows[-1], shown)

    network, epochs = learn(data, recipe, seed, _how(arguments, "selected"))
    mixture: Mixture | None = None
    evidence, shows = None, data.validation
    if recipe.evidence:
        tell("network alone, validation not learned", network, data.test, None, epoch=epochs)
        # The mixture learns from one half of the validation questions' sequences, the other half shows what it is worth.
        taught, shows = halves(data.validation)
        evidence = Evidence.of(data)
        with reproducible(arguments.threads):
            mixture = fitted(network, evidence, data, taught, seed)
    tell("validation figures", network, shows, evidence, epoch=epochs)
    tell("validation not learned", network, data.test, evidence, epoch=epochs)
    full = with_validation(data)
    evidence = Evidence.of(full) if recipe.evidence else None
    if evidence is not None:
        tell("validation counted, not learned", network, data.test, evidence, epoch=epochs)
    if not arguments.select_only:
        # The learning rate's schedule belongs to the number of epochs that was planned: all of them again.
        network, _ = learn(full, recipe, seed, _how(arguments, "final"), judged=False)
        tell("validation learned at last", network, data.test, evidence)
    return rows


def _how(arguments: argparse.Namespace, part: str) -> How:
    precision: torch.dtype = getattr(torch, arguments.precision)
    name, place = f"{arguments.set_name}-{part}", arguments.checkpoints
    return How(name, SHOWN[arguments.set_name][1], arguments.threads, precision, place)


def _print(row: dict[str, Any], shown: tuple[str, ...]) -> None:
    facts = "  ".join(f"{name} {row[name]:.4f}" for name in shown)
    rest = "".join(f"  {name} {row[name]}" for name in ("epoch", "seconds") if name in row)
    print(f"{row['name']:<62} {facts}{rest}", flush=True)


def _spread(rows: list[dict[str, Any]], shown: tuple[str, ...]) -> None:
    for kind in ("validation not learned", "validation learned at last"):
        own = [row for row in rows if row["name"].startswith("ours") and row["name"].split(", ", 2)[2] == kind]
        if len(own) > 1:
            parts = [
                f"{name} {statistics.mean(r[name] for r in own):.4f} ± {statistics.stdev(r[name] for r in own):.4f}"
                for name in shown
            ]
            print(f"ours, {kind}, mean ± sd of {len(own)} seeds: {'  '.join(parts)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set_name", choices=sorted(RECIPES))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--test", type=Path)
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--set", type=_setting, action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--precision", choices=["float32", "bfloat16"], default="bfloat16" if low_precision_pays() else "float32"
    )
    parser.add_argument("--checkpoints", type=Path, help="go on here after a kill")
    parser.add_argument("--select-only", action="store_true", help="leave out the training on the validation part")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _setting(text: str) -> tuple[str, Any]:
    name, value = text.split("=", 1)
    known = asdict(Recipe())
    if name not in known:
        raise argparse.ArgumentTypeError(f"no setting {name!r}; there are {', '.join(known)}")
    kind = type(known[name])
    return name, value == "True" if kind is bool else kind(value)


if __name__ == "__main__":
    main()
