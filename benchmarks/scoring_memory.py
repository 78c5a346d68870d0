"""Memory of the step `score` while customers grow: in blocks, as the product does, and with whole tables beside it.

    python -m benchmarks.scoring_memory [--customers 2000,20000,100000] [--whole 2000,20000] [--json FILE]

A made-up shop's customers, copied under other names, lie as artefacts on a SeaweedFS of the benchmark's own; a small
Transformer is trained once, and ranks, foretells and gives the vectors. Each line is a process of its own that runs the step
on one thread. Peak: the process's largest resident memory (VmHWM); start: what it had when all was imported, before the step.
`--whole` lists the sizes at which whole tables are tried too, whose memory grows with the customers: their answers must be
those of the blocks but for rounding, else the benchmark fails.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl

from mktgen import pipeline
from mktgen.config import Environment
from mktgen.contracts import CUSTOMER_SCORES, ITEM_SCORES
from mktgen.documents import ModelEntry, ModelSet, Promotion, TaskPromotion, TrainingPlan
from mktgen.evaluation import sameness
from mktgen.models import model_class
from mktgen.models.base import History, VectorModel
from mktgen.parts import Parts
from mktgen.settings import Settings
from mktgen.steps.deciding import active_customers
from mktgen.steps.runner import Outcome, Platform, Run, Step, execute
from mktgen.steps.validation import load_model
from mktgen.steps.worlds import around
from mktgen.store import Provenance
from tests.support.s3_server import serve
from tests.support.shop import Shop, make_shop
from tests.support.shop import around as known_of
from tests.support.training import session

DAY: Final = date(2017, 6, 3)
CUT: Final = DAY + timedelta(days=1)
KIND: Final = "transformer"
SETTINGS: Final = Settings.model_validate(
    {"models": {"threads": 1, "vector_model": KIND, "transformer": {"width": 16, "events": 32, "min_item_lines": 3}}}
)
COPIED: Final = 200  # customers that are made; all others are copies of them
ITEMS: Final = 1_000
_BY: Final = Provenance("made up", "r", "", "", 0, ())


def platform(prefix: str) -> Platform:
    endpoint, bucket = os.environ["MKTGEN_S3_ENDPOINT"], os.environ["MKTGEN_S3_BUCKET"]
    place: dict[str, Any] = {
        "s3_endpoint": endpoint,
        "s3_bucket": bucket,
        "s3_prefix": prefix,
        "s3_region": "us-east-1",
    }
    rest: dict[str, Any] = {"mlflow_uri": "", "train_processes": 1, "smtp_login": None, "overlays": ()}
    return Platform(SETTINGS, Environment(**place, **rest, pseudonym_key="a key for made-up customers, 32+"))


def shop() -> Shop:
    return make_shop(customers=COPIED, items=ITEMS, days=182)


# -- what the step reads ------------------------------------------------------------------------------------------------
def train(place: Path) -> None:
    model = model_class(KIND)()
    model.fit(shop().training_set(CUT), SETTINGS.models, session())
    model.save(place)


def prepare(customers: int, place: Path) -> None:
    """The artefacts of a day with so many customers."""
    where = platform(f"shop-{customers}")
    store, first = where.store, where.source.first_day
    history, known = shop().history(CUT), known_of(shop().events)
    tables = {"sequences": (DAY, history.events), "customer_features": (DAY, history.features)}
    tables |= {"customers": (first, known.customers)}
    with tempfile.TemporaryDirectory() as scratch:
        for name, (day, frame) in tables.items():
            table = Parts(name, Path(scratch) / name)
            for copy in copies(frame, customers):
                table.add(copy)
            store.write_parts(table, day, _BY)
    for name, day, frame in (("items", first, known.items), ("item_features", DAY, history.items)):
        store.write_table(name, day, frame, _BY)
    entry = ModelEntry(kind=KIND, directory=KIND, metrics={}, parameters={})
    store.write_files("models", DAY, {f"{KIND}/{path.name}": path.read_bytes() for path in place.iterdir()}, _BY)
    span = {"training_partition": DAY, "evaluation_from": DAY, "evaluation_to": DAY}
    store.write_document("model_set", DAY, ModelSet(**span, models=[entry]), _BY)
    store.write_document("training_plan", DAY, TrainingPlan(partition=DAY, reason="weekly schedule", **span), _BY)
    ranking, customer = (_promoted(task) for task in ("ranking", "customer"))
    store.write_document("promotion", DAY, Promotion(training_partition=DAY, ranking=ranking, customer=customer), _BY)


def copies(frame: pl.DataFrame, customers: int) -> Iterator[pl.DataFrame]:
    """The made customers again and again, in order of name; names have 32 characters."""
    for copy in range(customers // COPIED):
        yield frame.with_columns(customer_id=pl.format("{}-{}", pl.lit(f"{copy:026d}"), pl.col("customer_id")))


def _promoted(task: str) -> TaskPromotion:
    body = {"metric": "none", "incumbent": KIND, "challenger": KIND, "difference": None, "champion": KIND}
    return TaskPromotion.model_validate({"task": task, "reason": "the only kind", "kept_from": None, **body})


# -- the two ways -------------------------------------------------------------------------------------------------------
def whole(run: Run) -> Outcome:
    """The step's work with whole tables: all customers at once, all answers held."""
    facts = run.table("customer_features")
    history = History(CUT, run.table("sequences"), facts, run.table("item_features"), **around(run).before(CUT))
    customers, model = active_customers(facts, SETTINGS.features), load_model(run, KIND)
    assert isinstance(model, VectorModel)
    items = model.rank(history, customers, SETTINGS.models.top_k).with_columns(ranking_model=pl.lit(KIND))
    chances = model.probabilities(history, customers).join(model.vectors(history, customers), on="customer_id")
    scores = chances.with_columns(p_churn_28d=1.0 - pl.col("p_purchase_28d"), customer_model=pl.lit(KIND))
    return Outcome(
        tables={
            "customer_scores": scores.select(list(CUSTOMER_SCORES.columns)).sort("customer_id"),
            "item_scores": items.select(list(ITEM_SCORES.columns)),
        }
    )


def step(way: str) -> Step:
    """The product's step, or the same with another body and name, hence another derivation."""
    ours = pipeline.STEPS["score"]
    return ours if way == "blocks" else replace(ours, name="score_whole", body=whole)


def measure(customers: int, way: str) -> dict[str, Any]:
    where = platform(f"shop-{customers}")
    model_class(KIND)  # imports torch
    where.objects.get("nothing")
    start, began = resident("VmRSS"), time.monotonic()
    result = execute(step(way), DAY, where)
    seconds = time.monotonic() - began
    read = {name: where.store.need(name, DAY).rows for name in ("sequences", "customer_features")}
    facts = {"customers": customers, "way": way, "start_mb": start, "peak_mb": resident("VmHWM"), "seconds": seconds}
    return {**facts, "rows_read": sum(read.values()), "rows_written": result.rows, "run": result.run_id}


def resident(what: str) -> float:
    """Megabytes of this process by /proc: VmRSS now, VmHWM at most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) / 1024


def compare(customers: int, runs: list[str]) -> dict[str, Any]:
    """How many customers' answers differ between two runs by more than rounding (sameness.close_scores)."""
    store, said = platform(f"shop-{customers}").store, []
    for run in runs:
        found = [store.manifest_of_run(name, DAY, run) for name in ("item_scores", "customer_scores")]
        items, people = (store.read_table(manifest) for manifest in found if manifest is not None)
        chances = people.select("customer_id", "p_purchase_7d", "p_purchase_28d")
        said.append(sameness.stacked(items.select("customer_id", "seen", "rank", "item_id", "score"), chances))
    finding = sameness.close_scores("blocks against whole tables", *said)
    return {"compared": finding.compared, "different": finding.different, "finding": str(finding)}


# -- the table ----------------------------------------------------------------------------------------------------------
def child(*job: object) -> Any:
    """A job in a process of its own; what it prints last."""
    command = [sys.executable, "-m", "benchmarks.scoring_memory", "--job", *map(str, job)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "POLARS_MAX_THREADS"), "1")
    done = subprocess.run(command, env={**os.environ, **threads}, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def work(job: list[str]) -> Any:
    match job:
        case ["train", place]:
            return train(Path(place))
        case ["prepare", customers, place]:
            return prepare(int(customers), Path(place))
        case ["measure", customers, way]:
            return measure(int(customers), way)
        case ["compare", customers, *runs]:
            return compare(int(customers), runs)
    raise ValueError(f"no such job: {job}")


def line(facts: dict[str, Any]) -> str:
    rate = facts["customers"] / facts["seconds"]
    written = facts["rows_written"]["item_scores"]
    return (
        f"{facts['customers']:>9,} {facts['way']:>7} {facts['rows_read']:>12,} {written:>12,} {facts['start_mb']:>9,.0f} "
        f"{facts['peak_mb']:>8,.0f} {facts['peak_mb'] - facts['start_mb']:>8,.0f} {facts['seconds']:>8.1f} {rate:>11,.0f}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", default="2000,20000,100000")
    parser.add_argument("--whole", default="2000,20000")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--job", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.job:
        print(json.dumps(work(asked.job)))
        return 0
    sizes, bounds = ([int(size) for size in text.split(",") if size] for text in (asked.customers, asked.whole))
    rows: list[dict[str, Any]] = []
    checks: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="mktgen-scoring-") as home, serve(Path(home)) as server:
        os.environ.update(server.environment)
        os.environ.update(MKTGEN_S3_ENDPOINT=server.endpoint, MKTGEN_S3_BUCKET=server.bucket)
        model = Path(home) / "model"
        model.mkdir()
        child("train", model)
        print(
            "customers     way    rows read  items stored  start MB  peak MB  step MB  seconds customers/s", flush=True
        )
        for size in sizes:
            child("prepare", size, model)
            runs = []
            for way in ("blocks", "whole") if size in bounds else ("blocks",):
                rows.append(child("measure", size, way))
                runs.append(rows[-1]["run"])
                print(line(rows[-1]), flush=True)
            if len(runs) > 1:
                checks.append(child("compare", size, *runs))
                print(f"{'':>9} {checks[-1]['finding']}", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps({"rows": rows, "checks": checks}, indent=1) + "\n")
    return 1 if any(check["different"] for check in checks) else 0


if __name__ == "__main__":
    sys.exit(main())
