"""A person's answer before anything is sent: who is asked, about what, and that it is what was shown."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import BaseOperator, Context, Param, get_current_context, task

from mktgen_airflow.artefacts import open_store
from mktgen_airflow.links import strategy_page
from mktgen_airflow.partitions import partition_of
from mktgen_airflow.steps import report

log = logging.getLogger(__name__)

APPROVE: Final = "Approve"
REJECT: Final = "Reject"
NOTE: Final = "Why. If you reject: what is wrong, and what should change. Kept in the audit trail and in MLflow."
# A strategy is meant for the day after its partition; after this long an answer would come too late to be wanted.
ANSWER_WITHIN: Final = timedelta(hours=36)


@task.short_circuit(task_id="is_newest")
def is_newest() -> dict[str, Any]:
    """What is put before the approver, or {} (the rest of the run is skipped) where nothing may be sent."""
    from mktgen import pipeline
    from mktgen.documents import PublishedStrategy

    partition = partition_of(get_current_context())
    allowed, reason = pipeline.may_dispatch(partition)
    log.info("%s: %s", partition, reason)
    if not allowed:
        return {}
    store = open_store()
    manifest = store.need("published", partition)
    published = store.read_document(manifest, PublishedStrategy)
    page = strategy_page(partition.isoformat())
    return {"partition": partition.isoformat(), "run_id": manifest.run, "markdown": published.markdown, "page": page}


def approve() -> HITLOperator:
    """The question to a person. Waits without holding a worker; no answer in time counts as a rejection.

    Not ApprovalOperator: on a rejection that one skips the tasks after it, and the rejection must be recorded too.
    """
    return HITLOperator(
        task_id="approve",
        subject="Send the strategy of {{ ti.xcom_pull(task_ids='is_newest')['partition'] }} to its customers?",
        body=(
            "{{ ti.xcom_pull(task_ids='is_newest')['markdown'] }}\n\n"
            "---\n[The strategy's page]({{ ti.xcom_pull(task_ids='is_newest')['page'] }}) shows all of it. This answer is for "
            "run `{{ ti.xcom_pull(task_ids='is_newest')['run_id'] }}` only: what is edited afterwards is not sent."
        ),
        options=[APPROVE, REJECT],
        defaults=[REJECT],
        params={"note": Param(None, type=["null", "string"], title="Note", description=NOTE, maxLength=2000)},
        response_timeout=ANSWER_WITHIN,
        execution_timeout=None,
    )


@task.short_circuit(task_id="record_approval")
def record_approval(shown: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """Store the answer, whichever it was; {} (nothing is dispatched) after a rejection.

    The first answer to a strategy stays: a later one to the same strategy changes nothing. Raises NotAllowed where the
    strategy was published anew while the person was reading the one before.
    """
    from mktgen import pipeline
    from mktgen.documents import Approval

    partition, store = partition_of(get_current_context()), open_store()
    approved = answer["chosen_options"] == [APPROVE]
    who = (answer.get("responded_by_user") or {}).get("name") or "nobody (no answer in time)"
    note = str((answer.get("params_input") or {}).get("note") or "")
    log.info("%s by %s%s", "approved" if approved else "rejected", who, f": {note}" if note else "")
    result = report(pipeline.record_approval(partition, approved, who, note, shown=shown["run_id"]))
    kept = store.read_document(store.need("approval", partition), Approval)
    due = pipeline.hands_over_from(partition)
    return result | {"dispatch_from": due.isoformat() if due else ""} if kept.approved else {}


class WaitForHour(BaseOperator):
    """Wait until messages may be handed over, where the channel can't hold them (e-mail); holds no worker meanwhile."""

    template_fields: Sequence[str] = ("dispatch_from",)

    def __init__(self, *, dispatch_from: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.dispatch_from = dispatch_from

    def execute(self, context: Context) -> None:
        due = datetime.fromisoformat(self.dispatch_from) if self.dispatch_from else None
        if due is None or due <= datetime.now(UTC):
            log.info("the channel takes messages now")
            return
        log.info("waiting until %s", due)
        self.defer(trigger=DateTimeTrigger(moment=due), method_name="go_on")

    def go_on(self, context: Context, event: Any = None) -> None:
        log.info("it is %s", event)


def wait_for_hour() -> WaitForHour:
    """Skipped after a rejection, with `dispatch`."""
    due = "{{ ti.xcom_pull(task_ids='record_approval')['dispatch_from'] }}"
    return WaitForHour(task_id="wait_for_hour", dispatch_from=due, execution_timeout=None)
