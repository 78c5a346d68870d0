"""The loop as a table: each step, what it reads, what it writes. Airflow's tasks and `python -m mktgen run` call this.

Read STEPS from top to bottom and you have read the product.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Final

from mktgen.errors import PermanentError
from mktgen.steps import data
from mktgen.steps.runner import Platform, Recompute, Step, StepResult, execute
from mktgen.store import parallel

_DATA: Final = ("steps.data", "sources", "cleaning")

_TABLE: Final = (
    # -- collect and clean ------------------------------------------------------------------------------------------
    Step("reference", "onboarding", "catalogue and customer attributes of the source",
         data.reference, data.no_reads,
         ("raw_*", "items", "customers", "reference_quarantine"), _DATA, ("source", "cleaning"),
         at=data.reference_day, identity=data.source_identity),
    Step("ingest", "loop", "the day's rows as received, customers pseudonymised",
         data.ingest, data.no_reads,
         ("raw_*",), ("steps.data", "sources"), ("source",), identity=data.source_identity),
    Step("clean", "loop", "canonical tables; what breaks a rule goes to quarantine under its name",
         data.clean, data.clean_reads,
         ("order_lines", "responses", "context_promotions", "campaigns", "offers", "offer_items", "exposures", "quarantine"),
         _DATA, ("source", "cleaning")),
    # -- features -----------------------------------------------------------------------------------------------------
    Step("extract_features", "loop", "fold the day into the state; features of customers and items at its end",
         data.extract_features, data.feature_reads,
         (*data.STATE, "customer_features", "item_features"), ("steps.data", "features"), ("features",)),
)  # fmt: skip

STEPS: Final[dict[str, Step]] = {step.name: step for step in _TABLE}


def run_step(
    name: str, partition: date, *, recompute: Recompute = "changed", platform: Platform | None = None
) -> StepResult:
    """Run one step for a partition. Raises KeyError for an unknown step; else see steps/runner.py: execute."""
    if name not in STEPS:
        raise KeyError(f"no step {name!r}; steps: {', '.join(STEPS)}")
    platform = platform or Platform.from_environment()
    if name == "ingest":
        execute(STEPS["reference"], partition, platform)
    return execute(STEPS[name], partition, platform, recompute)


def onboard(
    source: str,
    first: date,
    last: date,
    *,
    platform: Platform | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> StepResult:
    """Bring in a range of days: the same artefacts as `ingest` and `clean` of each day, in one pass over the upstream,
    then the features of the last day. Days that are there already are found, not written again."""
    started = time.monotonic()
    platform = platform or Platform.from_environment()
    if source != platform.settings.source.name:
        raise PermanentError(
            f"settings say source.name = {platform.settings.source.name}; onboarding {source} was asked for"
        )
    if last < first:
        raise PermanentError(f"onboarding from {first} to {last}: the range is empty")
    execute(STEPS["reference"], first, platform)
    data.require_week_start(platform, first)
    rows = 0
    for week in data.weeks(platform.source, first, last):
        # The first day of a week brings its promotions, which the other days read: it goes first, they go together.
        results = [_bring_in(platform, *week[0])]
        results += parallel(lambda pair: _bring_in(platform, *pair), week[1:], threads=4)
        rows += sum(results)
        progress(f"onboarded to {week[-1][0]}: {rows} order lines")
    features = execute(STEPS["extract_features"], last, platform)
    rate = f"{rows} order lines of {(last - first).days + 1} days"
    return replace(
        features, step="onboard", rows=features.rows | {"order_lines": rows}, notes=[rate, *features.notes],
        seconds=round(time.monotonic() - started, 3),
    )  # fmt: skip


def _bring_in(platform: Platform, day: date, raw: data.RawTables) -> int:
    execute(replace(STEPS["ingest"], body=lambda run: data.ingested(raw)), day, platform)
    return execute(STEPS["clean"], day, platform).rows["order_lines"]
