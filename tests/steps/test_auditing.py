"""From publication to dispatch on a real S3: everything is told, and nothing that was edited since is sent."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from mktgen import __main__ as command
from mktgen import pipeline
from mktgen.documents import Approval
from mktgen.errors import NotAllowed
from mktgen.execution import audit
from mktgen.steps.checking import audit_day
from mktgen.steps.runner import Platform
from mktgen.store import Manifest, ObjectStore, sha256
from tests.support.dispatch_world import (
    DAY,
    approve,
    decision,
    decisions,
    dispatch_day,
    make_day,
    platform_at,
    proven,
    publish,
)

NOW = datetime(2017, 10, 4, 12, tzinfo=UTC)
ROWS = [decision(n) for n in range(3)]


@pytest.fixture
def platform(object_store: ObjectStore) -> Platform:
    """A day that was published and approved."""
    platform = platform_at(object_store.location)
    platform.clock = lambda: NOW
    make_day(platform, ROWS)
    return platform


def told(platform: Platform) -> list[tuple[str, str]]:
    return [(entry.what, entry.who) for entry in audit.read(platform.objects, DAY)]


def wrong(platform: Platform) -> list[str]:
    return audit_day(platform, DAY).audit.wrong


def test_who_did_what_is_told_and_holds(platform: Platform) -> None:
    assert told(platform) == [("approved", "ana")]
    dispatch_day(platform)
    dispatch_day(platform)
    assert told(platform) == [("approved", "ana"), ("begun", "step dispatch"), ("dispatched", "step dispatch")]
    approved, begun, dispatched = audit.verified(platform.objects, DAY)
    answer = platform.store.need("approval", DAY)
    kept = platform.store.read_document(answer, Approval)
    assert approved.digests == {**kept.digests, answer.folder: answer.digest}
    assert {folder.split("/")[0] for folder in kept.digests} == {
        "published", "strategy", "decisions", "messages", "shown",
    }  # fmt: skip
    assert (approved.at, dispatched.note) == ("2017-10-04T12:00:00+00:00", "sent 3")
    proof = proven(platform)
    assert proof.holds, proof.text
    assert {given.name: given.digest for given in proof.evidence.proof.inputs}["audit"] == begun.hash
    assert wrong(platform) == []


def test_a_rejection_keeps_its_reason_or_says_that_none_was_given(object_store: ObjectStore) -> None:
    for note, kept, run in (("  too\ndear ", "too dear", "r1"), ("", "no reason given", "r2")):
        platform = platform_at(object_store.location)
        publish(platform, decisions([decision(0, version=run)]), run=run)
        result = pipeline.record_approval(DAY, False, "bo", note, platform=platform)
        assert result.notes == [f"rejected by bo: {kept}"]
        entry = audit.read(platform.objects, DAY)[-1]
        assert (entry.what, entry.who, entry.note, entry.strategy_run) == ("rejected", "bo", kept, run)
        with pytest.raises(NotAllowed, match=f"rejected by bo: {kept}"):
            dispatch_day(platform)
        assert wrong(platform) == []


# -- what was edited after it was approved ----------------------------------------------------------------------------------
def edit_file(platform: Platform, manifest: Manifest) -> None:
    """Other content in the first file of an artefact: a table with another row, a document with another word."""
    name = manifest.files[0][0]
    key = f"{manifest.folder}/{name}"
    platform.objects.put(key, edited(platform.objects.get(key) or b"", name))


def edited(raw: bytes, name: str) -> bytes:
    if not name.endswith(".parquet"):
        return raw.replace(b"2017-10-03", b"2017-10-04", 1)
    frame, body = pl.read_parquet(io.BytesIO(raw)), io.BytesIO()
    pl.concat([frame.head(1).with_columns(customer_id=pl.lit("customer9999")), frame.tail(-1)]).write_parquet(body)
    return body.getvalue()


def edit_with_manifest(platform: Platform, manifest: Manifest) -> None:
    """The same by somebody who makes the manifest fit."""
    edit_file(platform, manifest)
    key = f"{manifest.folder}/_manifest.json"
    body = json.loads(platform.objects.get(key) or b"")
    raw = platform.objects.get(f"{manifest.folder}/{body['files'][0][0]}") or b""
    body["files"][0] = [body["files"][0][0], sha256(raw), len(raw)]
    platform.objects.put(key, json.dumps(body).encode())


def edit_manifest(platform: Platform, manifest: Manifest) -> None:
    key = f"{manifest.folder}/_manifest.json"
    body = json.loads(platform.objects.get(key) or b"")
    platform.objects.put(key, json.dumps({**body, "rows": body["rows"] + 1}).encode())


def ruin_manifest(platform: Platform, manifest: Manifest) -> None:
    platform.objects.put(f"{manifest.folder}/_manifest.json", b"{}")


def remove_file(platform: Platform, manifest: Manifest) -> None:
    platform.objects.delete(f"{manifest.folder}/{manifest.files[0][0]}")


EDITS = (edit_file, edit_with_manifest, edit_manifest, ruin_manifest, remove_file)


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("artefact", ["strategy", "decisions", "messages"])
def test_nothing_that_was_edited_after_the_approval_is_sent(
    platform: Platform, artefact: str, edit: Callable[[Platform, Manifest], None]
) -> None:
    edit(platform, platform.store.need(artefact, DAY))
    refused(platform, f"{artefact} of 2017-10-03 was changed after it was published")
    assert any(f"{artefact}/dt=2017-10-03/run=r1" in words for words in wrong(platform))


@pytest.mark.parametrize("edit", [edit_file, edit_with_manifest, edit_manifest, remove_file])
@pytest.mark.parametrize("artefact", ["published", "approval"])
def test_neither_an_edited_release_nor_an_edited_answer_is_gone_by(
    platform: Platform, artefact: str, edit: Callable[[Platform, Manifest], None]
) -> None:
    manifest = platform.store.need(artefact, DAY)
    edit(platform, manifest)
    refused(platform, f"{artefact} of 2017-10-03")
    assert any(manifest.folder in words for words in wrong(platform))


def refused(platform: Platform, says: str) -> None:
    """Nothing is sent, nothing begun, and the trail tells why, once for each reason."""
    for _ in range(2):
        with pytest.raises(NotAllowed, match=says) as error:
            dispatch_day(platform)
    assert platform.objects.keys("outbox/") == []
    assert platform.objects.keys("ledger") == []
    assert told(platform) == [("approved", "ana"), ("refused", "step dispatch")]
    assert audit.read(platform.objects, DAY)[-1].note == str(error.value)


def test_a_rejection_that_was_turned_into_an_approval_is_refused(object_store: ObjectStore) -> None:
    """With document, manifest and pointer all made to fit: only the trail knows better."""
    platform = platform_at(object_store.location)
    publish(platform, decisions(ROWS))
    pipeline.record_approval(DAY, False, "ana", "too dear", platform=platform)
    manifest = platform.store.need("approval", DAY)
    answer = platform.store.read_document(manifest, Approval)
    body = answer.model_copy(update={"approved": True, "note": ""}).to_bytes()
    record = json.loads(platform.objects.get(f"{manifest.folder}/_manifest.json") or b"")
    record["files"] = [["document.json", sha256(body), len(body)]]
    platform.objects.put(f"{manifest.folder}/document.json", body)
    platform.objects.put(f"{manifest.folder}/_manifest.json", json.dumps(record).encode())
    with pytest.raises(NotAllowed, match="the audit trail tells of no such answer by ana"):
        dispatch_day(platform)
    assert platform.objects.keys("outbox/") == []
    assert any("was changed since" in words for words in wrong(platform))


def test_an_edited_trail_stops_the_dispatch_and_is_named(platform: Platform) -> None:
    key = f"audit/day={DAY}/0001.json"
    body = json.loads(platform.objects.get(key) or b"")
    platform.objects.put(key, json.dumps({**body, "who": "eve"}).encode())
    with pytest.raises(NotAllowed, match="changed at entry 1"):
        dispatch_day(platform)
    assert platform.objects.keys("outbox/") == []
    assert any(words.startswith("entry 1 (approved by eve) was changed") for words in wrong(platform))


def test_what_was_edited_before_the_answer_can_not_be_approved(object_store: ObjectStore) -> None:
    platform = platform_at(object_store.location)
    publish(platform, decisions(ROWS))
    edit_file(platform, platform.store.need("messages", DAY))
    with pytest.raises(NotAllowed, match="messages of 2017-10-03 was changed"):
        approve(platform)
    assert platform.store.current("approval", DAY) is None
    assert told(platform) == [("refused", "ana")]
    assert pipeline.record_approval(DAY, False, "ana", "edited", platform=platform).notes == ["rejected by ana: edited"]


# -- the checker ------------------------------------------------------------------------------------------------------------
def test_a_trail_whose_end_was_cut_off_is_found_by_what_names_it_elsewhere(platform: Platform) -> None:
    dispatch_day(platform)
    trail = audit.read(platform.objects, DAY)
    for entry in trail[1:]:
        platform.objects.delete(entry.key)
    found = wrong(platform)
    assert len(found) == 1
    assert "contact_proof/dt=2017-10-03" in found[0]
    assert f"names an entry with hash {trail[1].hash[:12]}" in found[0]
    assert "audit/day=2017-10-03/0002.json: its content is gone" in proven(platform).text
    platform.objects.delete(trail[0].key)
    assert any("is an answer that no entry tells of" in words for words in wrong(platform))


def test_the_command_prints_the_trail_and_fails_where_it_was_touched(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = platform.environment
    for name, value in {
        "MKTGEN_S3_ENDPOINT": place.s3_endpoint, "MKTGEN_S3_BUCKET": place.s3_bucket, "MKTGEN_S3_PREFIX": place.s3_prefix,
        "MKTGEN_PSEUDONYM_KEY": place.pseudonym_key, "MKTGEN_CONFIG": "", "MLFLOW_TRACKING_URI": "",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    dispatch_day(platform)
    assert command.main(["audit", str(DAY)]) == 0
    said = capsys.readouterr().out
    assert "2017-10-04T12:00:00+00:00  approved by ana, strategy run r1" in said
    assert said.endswith("  holds\n")
    body: dict[str, Any] = json.loads(platform.objects.get(f"audit/day={DAY}/0002.json") or b"")
    platform.objects.put(f"audit/day={DAY}/0002.json", json.dumps({**body, "note": "x"}).encode())
    assert command.main(["audit", str(DAY)]) == 1
    assert "WRONG: entry 2 (begun by step dispatch) was changed" in capsys.readouterr().out
