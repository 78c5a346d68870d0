"""How long the strategy pages take over a day of a million decisions, and what the server holds in memory meanwhile.

    python -m benchmarks.pages [--decisions 1000000] [--repeats 30] [--json FILE]

A day of made-up decisions and candidate offers is stored on a SeaweedFS of its own; the pages' app answers in a process of its
own (uvicorn, no login). Each kind of request is asked `repeats` times, never twice the same where there is a choice: p50 and
p95 from the request to the whole answer. The peer, in the same run and also in a process of its own, is what a page would cost
if the table were read whole (store.read_table, hashes verified) and cut: seconds and peak memory.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import polars as pl

from mktgen.config import Environment
from mktgen.contracts import DECISIONS, OFFER_SCORES
from mktgen.documents import Allocation, AllocationReport
from mktgen.settings import Settings
from mktgen.steps.runner import Platform
from mktgen.store import ObjectStore, Provenance, S3Location, Store
from tests.support.s3_server import serve

DAY: Final = date(2017, 10, 1)
BY: Final = Provenance("allocate", "benchmark", "", "", 0, ())
OFFERS: Final = 4
PAGE: Final = 50
BY_VALUE: Final = {"sort": "expected_value_minor", "descending": "true"}
OF_DAY: Final = f"/mktgen/api/strategies/{DAY}/decisions"


def decisions(count: int) -> pl.DataFrame:
    """contracts.DECISIONS in the order that the policy writes: by customer. A fifth is contacted."""
    rng = np.random.default_rng(1)
    ids = pl.DataFrame({"n": np.arange(count), "h": rng.integers(0, 2**62, count)})
    offer = pl.format("c{}:1", pl.col("n") % OFFERS)
    contacted = pl.col("n") % 5 == 0
    rows = ids.select(
        decision_id=pl.col("h").map_elements(lambda value: f"{value:032x}", return_dtype=pl.String),
        customer_id=pl.format("c{}", pl.col("n").cast(pl.String).str.zfill(16)),
        segment_id=pl.format("s{}", pl.col("n") % 6),
        action=pl.when(contacted).then(offer).otherwise(pl.lit("no_contact")),
        campaign_id=pl.when(contacted).then(pl.format("c{}", pl.col("n") % OFFERS)),
        offer_id=pl.when(contacted).then(offer),
        item_ids=pl.concat_list(pl.col("n").cast(pl.String)),
        channel=pl.when(contacted).then(pl.lit("outbox")),
        action_set=pl.concat_list(pl.lit("no_contact"), *(pl.lit(f"c{n}:1") for n in range(OFFERS))),
        action_propensities=pl.concat_list(pl.lit(0.6), *(pl.lit(0.1) for _ in range(OFFERS))),
        propensity=pl.when(contacted).then(0.1).otherwise(0.6),
        explored=contacted, arm=pl.lit("policy"), holdout=pl.lit(False), holdout_share=pl.lit(0.1),
        p_redeem=pl.Series(rng.random(count)), expected_value_minor=pl.Series(rng.normal(100, 50, count)),
        cost_minor=pl.lit(140, pl.Int64), model_version=pl.lit("2017-10-01/0123456789ab"),
        policy_version=pl.lit("mixture-rounded/1"), config_version=pl.lit("0123456789ab"),
    )  # fmt: skip
    return rows.select(list(DECISIONS.columns))


def offers(customers: pl.Series) -> pl.DataFrame:
    """contracts.OFFER_SCORES of every customer."""
    frame = customers.to_frame().join(pl.DataFrame({"k": range(OFFERS)}), how="cross")
    rows = frame.select(
        "customer_id", campaign_id=pl.format("c{}", "k"), offer_id=pl.format("c{}:1", "k"), item_id=pl.lit("i"),
        affinity=pl.lit(0.1), p_redeem=pl.lit(0.1), p_redeem_low=pl.lit(0.05), p_redeem_high=pl.lit(0.2),
        cost_minor=pl.lit(140, pl.Int64), value_minor=pl.lit(100.0),
    )  # fmt: skip
    return rows.select(list(OFFER_SCORES.columns))


def fill(store: Store, count: int) -> tuple[list[str], list[str]]:
    """Store the day; some of its decision and customer ids, by chance."""
    table = decisions(count)
    store.write_table("decisions", DAY, table, BY)
    store.write_table("offer_scores", DAY, offers(table["customer_id"]), BY)
    plan = Allocation(
        budget_minor=10**8, worst_case_cost_minor=0, allocated_cost_minor=0, value_minor=0.0, bound_minor=0.0, gap_share=0.0,
        shadow_price=0.1, propensity_floor=0.02, expected_cost_minor=0.0, expected_value_minor=0.0, contacts=count // 5,
        candidates=OFFERS * count,
    )  # fmt: skip
    report = AllocationReport(partition=DAY, allocation=plan, notes=[], versions={}, next_experiment=None)
    store.write_document("allocation", DAY, report, BY)
    chosen = table.sample(200, seed=2)
    return chosen["decision_id"].to_list(), chosen["customer_id"].to_list()


def platform(place: S3Location) -> Platform:
    environment = Environment(
        s3_endpoint=place.endpoint, s3_bucket=place.bucket, s3_prefix=place.prefix, s3_region=place.region, mlflow_uri="",
        pseudonym_key="of a benchmark", train_processes=1, smtp_login=None, overlays=(),
    )  # fmt: skip
    return Platform(Settings(), environment)


# -- processes of their own -------------------------------------------------------------------------------------------------
def pages(place: S3Location, told: Connection) -> None:
    """The app until it is ended; tells its port."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "plugins"))
    import uvicorn
    from fastapi import Depends, FastAPI
    from mktgen_ui.app import make_app

    known, app = platform(place), FastAPI(openapi_url=None)
    app.mount("/mktgen", make_app(Depends(lambda: None), platform=lambda: known))
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning")
    listener = config.bind_socket()
    listener.listen()  # who connects before the server runs waits, rather than being refused
    told.send(listener.getsockname()[1])
    uvicorn.Server(config).run(sockets=[listener])


def whole(place: S3Location, told: Connection) -> None:
    """The peer: the table read whole, a page cut from it as it lies and in order of value; tells the seconds of three of each,
    and the memory it took."""
    store, before = platform(place).store, peak_mb(os.getpid())
    seconds: dict[str, list[float]] = {"": [], BY_VALUE["sort"]: []}
    for key, spent in seconds.items():
        for offset in (0, 500, 1_000):
            started = time.perf_counter()
            table = store.read_table(store.need("decisions", DAY))
            (table.sort(key, descending=True) if key else table).slice(offset, PAGE).to_dicts()
            spent.append(time.perf_counter() - started)
    told.send((seconds, peak_mb(os.getpid()) - before))


def peak_mb(pid: int) -> float:
    """The most memory that a process has held."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 1024


# -- measuring --------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Kind:
    """A kind of request. ask: number of the repeat -> path and parameters; rows: how many each answer has."""

    name: str
    ask: Callable[[int], tuple[str, dict[str, Any]]]
    rows: int = PAGE


def kinds(count: int, ids: list[str], customers: list[str]) -> list[Kind]:
    def listed(**parameters: Any) -> tuple[str, dict[str, Any]]:
        return OF_DAY, {"limit": PAGE, **parameters}

    return [
        Kind("first page", lambda n: listed(offset=n * PAGE)),
        Kind("deep page", lambda n: listed(offset=count * 9 // 10 + n * PAGE)),
        Kind("one campaign, deep", lambda n: listed(campaign=f"c{n % OFFERS}", offset=count // 50 + n * PAGE)),
        Kind("sorted by value", lambda n: listed(offset=n * PAGE, **BY_VALUE)),
        Kind("sorted by value, deep", lambda n: listed(offset=count // 2 + n * PAGE, **BY_VALUE)),
        Kind("search, customer", lambda n: listed(search=customers[n]), 1),
        Kind("search, decision", lambda n: listed(search=ids[n]), 1),
        Kind("one decision explained", lambda n: (f"{OF_DAY}/{ids[-n - 1]}", {}), 0),
    ]


def measure(client: httpx.Client, kind: Kind, repeats: int) -> dict[str, Any]:
    seconds = []
    for number in range(-1, repeats):  # one to warm up
        path, parameters = kind.ask(max(number, 0))
        started = time.perf_counter()
        answer = client.get(path, params=parameters)
        seconds.append(time.perf_counter() - started)
        answer.raise_for_status()
        if kind.rows and len(answer.json()["rows"]) != kind.rows:
            raise RuntimeError(f"{kind.name}: {len(answer.json()['rows'])} rows, {kind.rows} were asked for")
    p50, p95 = np.percentile(np.array(seconds[1:]) * 1000, [50, 95])
    return {"request": kind.name, "p50_ms": round(float(p50), 1), "p95_ms": round(float(p95), 1)}


def report(place: S3Location, count: int, repeats: int) -> dict[str, Any]:
    ids, customers = fill(Store(ObjectStore(place)), count)
    spawning = multiprocessing.get_context("spawn")
    here, there = spawning.Pipe()
    server = spawning.Process(target=pages, args=(place, there))
    server.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{here.recv()}", timeout=120) as client:
            client.get("/mktgen/api/strategies").raise_for_status()
            before = peak_mb(server.pid or 0)
            rows = [measure(client, kind, repeats) for kind in kinds(count, ids, customers)]
        held = peak_mb(server.pid or 0)
    finally:
        server.terminate()
        server.join()
    peer = spawning.Process(target=whole, args=(place, there))
    peer.start()
    seconds, memory = here.recv()
    peer.join()
    reading = {key: round(float(np.median(spent) * 1000), 1) for key, spent in seconds.items()}
    for row in rows:
        peers = reading[BY_VALUE["sort"] if row["request"].startswith("sorted") else ""]
        row["whole_table_over_page"] = round(peers / row["p50_ms"], 1)
    return {
        "decisions": count, "cores": os.cpu_count(), "rows": rows, "whole_table_ms": reading[""],
        "whole_table_sorted_ms": reading[BY_VALUE["sort"]], "whole_table_mb": round(memory),
        "server_mb_before": round(before), "server_mb_peak": round(held),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decisions", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mktgen-pages-") as home, serve(Path(home)) as server, server.keys():
        found = report(server.location("pages"), arguments.decisions, arguments.repeats)
    print(f"{found['decisions']} decisions, {found['cores']} cores")
    for row in found["rows"]:
        print(f"{row['request']:<24} p50 {row['p50_ms']:>8.1f} ms   p95 {row['p95_ms']:>8.1f} ms   "
              f"the whole table takes {row['whole_table_over_page']} times as long")  # fmt: skip
    print(f"the whole table: {found['whole_table_ms']} ms, sorted {found['whole_table_sorted_ms']} ms")
    print(f"memory: {found['whole_table_mb']} MB more for the whole table; the server went from "
          f"{found['server_mb_before']} to {found['server_mb_peak']} MB")  # fmt: skip
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
