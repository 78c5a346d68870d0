"""The approval: nothing without a person, and only what the person saw."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from mktgen.documents import PublishedStrategy
from mktgen.errors import NotAllowed
from mktgen.store import ObjectStore, Store
from tests.dags.conftest import as_task
from tests.execution.conftest import decision, decisions, messages_for
from tests.support.any_strategy import DAY, provenance, strategy

PAGE = f"http://airflow.test/mktgen/strategies/{DAY}"


def publish(store: Store, day: date, run: str) -> None:
    """A strategy with its decisions and messages, published as run p-<run>."""
    frame = decisions([decision(0)])
    parts = {
        "strategy": store.write_document("strategy", day, strategy(day), provenance(run)),
        "decisions": store.write_table("decisions", day, frame, provenance(run)),
        "messages": store.write_table("messages", day, messages_for(frame), provenance(run)),
    }
    uris = {f"{name}_uri": manifest.folder for name, manifest in parts.items()}
    release = PublishedStrategy.model_validate({"partition": day, "markdown": "# s", **uris})
    store.write_document("published", day, release, provenance(f"p-{run}"))


def shown(run: str) -> dict[str, Any]:
    return {"partition": DAY.isoformat(), "run_id": run, "markdown": "# s", "page": PAGE}


def answer(option: str) -> dict[str, Any]:
    return {
        "chosen_options": [option],
        "params_input": {"note": "fine"},
        "responded_by_user": {"id": "1", "name": "ana"},
        "responded_at": None,
    }


@pytest.mark.parametrize("option", ["Approve", "Reject"])
def test_an_answer_to_a_strategy_that_was_replaced_is_refused(
    dagbag: Any, store_environment: ObjectStore, option: str
) -> None:
    store = Store(store_environment)
    publish(store, DAY, "r1")
    publish(store, DAY, "r2")
    record = dagbag.dags["marketing_execution"].task_dict["record_approval"].python_callable
    with as_task(DAY.isoformat()), pytest.raises(NotAllowed, match="published anew"):
        record(shown("p-r1"), answer(option))
    assert store.partitions("approval") == []


def test_what_may_not_be_sent_is_not_asked_about(dagbag: Any, store_environment: ObjectStore) -> None:
    """A day before `execution.live_from` (unset in the base settings: nothing is ever sent)."""
    publish(Store(store_environment), DAY, "r1")
    is_newest = dagbag.dags["marketing_execution"].task_dict["is_newest"].python_callable
    with as_task(DAY.isoformat()):
        assert is_newest() == {}


def test_the_question_shows_the_strategy_and_its_run(dagbag: Any) -> None:
    question = dagbag.dags["marketing_execution"].task_dict["approve"]
    assert "xcom_pull(task_ids='is_newest')['markdown']" in question.body
    assert "xcom_pull(task_ids='is_newest')['run_id']" in question.body
    assert "xcom_pull(task_ids='is_newest')['page']" in question.body
    assert "partition" in question.subject
    assert "what should change" in str(question.params.get_param("note").description)


def test_a_day_that_was_never_published_is_an_error_for_people(dagbag: Any, store_environment: ObjectStore) -> None:
    from mktgen.errors import MissingArtefact

    record = dagbag.dags["marketing_execution"].task_dict["record_approval"].python_callable
    with as_task(date(2017, 10, 9).isoformat()), pytest.raises(MissingArtefact, match="2017-10-09"):
        record(shown("p-r1"), answer("Approve"))


@pytest.mark.parametrize(("option", "approved"), [("Approve", True), ("Reject", False)])
def test_the_answer_is_kept_and_only_a_yes_goes_on(
    dagbag: Any, store_environment: ObjectStore, option: str, approved: bool
) -> None:
    from mktgen.documents import Approval

    store = Store(store_environment)
    publish(store, DAY, "r1")
    record = dagbag.dags["marketing_execution"].task_dict["record_approval"].python_callable
    with as_task(DAY.isoformat()):
        assert bool(record(shown("p-r1"), answer(option))) is approved
    kept = store.read_document(store.need("approval", DAY), Approval)
    given = kept.model_copy(update={"digests": {}, "audit_head": ""})
    assert given == Approval(
        partition=DAY, approved=approved, responder="ana", strategy_run="r1", note="fine", newest_published=DAY
    )
    assert len(kept.digests) == (5 if approved else 2)


def test_the_first_answer_stays(dagbag: Any, store_environment: ObjectStore) -> None:
    publish(Store(store_environment), DAY, "r1")
    record = dagbag.dags["marketing_execution"].task_dict["record_approval"].python_callable
    with as_task(DAY.isoformat()):
        assert record(shown("p-r1"), answer("Reject")) == {}
        assert record(shown("p-r1"), answer("Approve")) == {}, "a rejected strategy must not be sent after all"


def test_silence_is_kept_as_a_rejection_by_nobody(dagbag: Any, store_environment: ObjectStore) -> None:
    from mktgen.documents import Approval

    store = Store(store_environment)
    publish(store, DAY, "r1")
    record = dagbag.dags["marketing_execution"].task_dict["record_approval"].python_callable
    silence = {"chosen_options": ["Reject"], "params_input": {"note": None}, "responded_by_user": None}
    with as_task(DAY.isoformat()):
        assert record(shown("p-r1"), silence) == {}
    kept = store.read_document(store.need("approval", DAY), Approval)
    assert (kept.approved, kept.responder, kept.note) == (False, "nobody (no answer in time)", "no reason given")


def test_the_newest_live_day_is_shown_with_its_run(
    dagbag: Any, store_environment: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlay = tmp_path / "live.yaml"
    overlay.write_text(f"execution:\n  live_from: {DAY}\n")
    monkeypatch.setenv("MKTGEN_CONFIG", str(overlay))
    store = Store(store_environment)
    is_newest = dagbag.dags["marketing_execution"].task_dict["is_newest"].python_callable
    publish(store, DAY, "r1")
    with as_task(DAY.isoformat()):
        assert is_newest() == shown("p-r1")
    store.write_document("strategy", DAY, strategy(stopped=True), provenance("r2"))
    with as_task(DAY.isoformat()):
        assert is_newest() == {}, "a day whose later evaluation stopped it is not asked about"
    store.write_document("strategy", DAY, strategy(), provenance("r1"))
    publish(store, date(2017, 10, 4), "r1")
    with as_task(DAY.isoformat()):
        assert is_newest() == {}, "an older day is not asked about"


@pytest.mark.parametrize("late", [True, False])
def test_only_what_leaves_at_once_and_too_early_waits_for_its_hour(dagbag: Any, late: bool) -> None:
    from datetime import UTC, datetime, timedelta

    from airflow.sdk.exceptions import TaskDeferred
    from mktgen_airflow.approval import WaitForHour

    assert type(dagbag.dags["marketing_execution"].task_dict["wait_for_hour"]) is WaitForHour
    assert WaitForHour(task_id="held", dispatch_from="").execute({}) is None
    due = datetime.now(UTC) + timedelta(hours=-1 if late else 1)
    wait = WaitForHour(task_id="mail", dispatch_from=due.isoformat())
    if late:
        assert wait.execute({}) is None
        return
    with pytest.raises(TaskDeferred) as deferred:
        wait.execute({})
    assert deferred.value.trigger.moment == due
    assert hasattr(wait, deferred.value.method_name)
