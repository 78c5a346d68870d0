"""`step("allocate")`: one step of the pipeline as one task."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import Asset, get_current_context, task
from airflow.sdk.bases.operatorlink import BaseOperatorLink
from airflow.sdk.exceptions import AirflowSkipException

from mktgen_airflow.assets import DAY_DECIDED, RETRAINING_REQUESTED, STRATEGY_PUBLISHED
from mktgen_airflow.defaults import TRAINING_POOL, TRAINING_QUEUE, TRAINING_TIMEOUT
from mktgen_airflow.links import MLflowLink, StrategyLink
from mktgen_airflow.partitions import partition_of

if TYPE_CHECKING:
    from airflow.sdk import XComArg

    from mktgen.steps.runner import StepResult

log = logging.getLogger(__name__)

EMITS: Final[dict[str, Asset]] = {"allocate": DAY_DECIDED, "publish": STRATEGY_PUBLISHED}
LINKS: Final[dict[str, BaseOperatorLink]] = {
    "train": MLflowLink(),
    "validate": MLflowLink(),
    "promote": MLflowLink(),
    "promote_copywriter": MLflowLink(),
    "promote_response": MLflowLink(),
    "publish": StrategyLink(),
}
LEARNS: Final = ("train", "train_copywriter")
TRAINING: Final[dict[str, Any]] = {
    "queue": TRAINING_QUEUE,
    "pool": TRAINING_POOL,
    "execution_timeout": TRAINING_TIMEOUT,
}


def step(name: str) -> XComArg:
    """The task that runs `pipeline.run_step(name, <the run's partition>)`; its XCom is `summary` of the result."""

    def run() -> dict[str, Any]:
        from mktgen import pipeline

        context = get_current_context()
        recompute = dict(context["params"]).get("recompute", "changed")
        result = pipeline.run_step(name, partition_of(context), recompute=recompute)
        if name in EMITS:
            context["outlet_events"][EMITS[name]].extra = {"run_id": result.run_id}
        return report(result)

    return _task(name, run)


def _task(name: str, run: Callable[[], dict[str, Any]]) -> XComArg:
    options: dict[str, Any] = dict(TRAINING) if name in LEARNS else {}
    made: XComArg = task(task_id=name, outlets=[EMITS[name]] if name in EMITS else [], **options)(run)()
    if name in LINKS:
        made.operator.operator_extra_links = (LINKS[name],)  # type: ignore[attr-defined]
    return made


def report(result: StepResult) -> dict[str, Any]:
    """Log a step's result for a reader of the task log; return the small part that goes into XCom."""
    for note in result.notes:
        log.info("%s", note)
    for artefact, uri in result.artefacts.items():
        rows = result.rows.get(artefact)
        log.info("%s %s%s", artefact, uri, "" if rows is None else f" ({rows:,} rows)")
    how = "reused, nothing had changed" if result.reused else "computed"
    log.info("%s of %s: %s in %.1f s", result.step, result.partition, how, result.seconds)
    return {
        "partition": result.partition.isoformat(),
        "run_id": result.run_id,
        "reused": result.reused,
        "artefacts": dict(result.artefacts),
        "rows": dict(result.rows),
        "digests": dict(result.digests),
        "seconds": round(result.seconds, 3),
    }


def announce_retraining() -> XComArg:
    """The task that emits `retraining_requested` where the day's feedback asked for it, and is skipped elsewhere.

    Apart from `request_retraining`, because a skipped task emits nothing and a task that wrote its answer is no skip.
    The event's partition is the first day that the new models serve, not the day that asked.
    """

    @task(task_id="announce_retraining", outlets=[RETRAINING_REQUESTED])
    def announce() -> None:
        from mktgen import pipeline

        context = get_current_context()
        partition = partition_of(context)
        if not pipeline.requested_training(partition):
            raise AirflowSkipException(f"the feedback of {partition} asks for no retraining of the behaviour models")
        serves = pipeline.partition_of_request(partition)
        context["outlet_events"][RETRAINING_REQUESTED].add_partitions(serves.isoformat())
        log.info("the feedback of %s asks for retraining; marketing_retraining trains for %s on", partition, serves)

    made: XComArg = announce()
    return made
