"""The prover against dispatches that were tampered with, on a real S3: each fault is found, and named."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mktgen import __main__ as command
from mktgen import pipeline
from mktgen.documents import ContactProof
from mktgen.errors import MissingArtefact, PermanentError
from mktgen.execution.contact_book import ContactBook, Record
from mktgen.execution.prover_ledger import hash_of
from mktgen.steps.proving import prove_export
from mktgen.steps.runner import Platform
from mktgen.store import ObjectStore
from tests.execution.conftest import messages_for
from tests.support.dispatch_world import (
    DAY,
    by,
    decision,
    decisions,
    dispatch_day,
    make_day,
    platform_at,
    proven,
    publish,
    violations,
)

SEND_AT = datetime(2017, 10, 4, 14, tzinfo=UTC)
MAILED = [f"customer{n:04d}" for n in range(4)]
HELD, LEFT = "customer0004", "customer0005"


@pytest.fixture
def platform(object_store: ObjectStore) -> Platform:
    """Four contacts, one held out, one left alone; dispatched."""
    platform = platform_at(object_store.location)
    rows = [decision(n) for n in range(4)]
    make_day(platform, [*rows, decision(4, action="no_contact", holdout=True), decision(5, action="no_contact")])
    dispatch_day(platform)
    return platform


def test_an_honest_dispatch_is_proven(platform: Platform) -> None:
    found = proven(platform)
    assert found.holds, found.text
    assert found.text.endswith("holds")
    assert found.evidence.proof.counts == {
        "decisions": 6, "no_contact": 1, "held_out": 1, "contacts": 4, "sent": 4, "already_sent": 0, "unconfirmed": 0,
        "refused": 0,
    }  # fmt: skip
    by_uri = prove_export(platform, f"s3://mktgen/store/outbox/dt={DAY}/")
    assert by_uri.holds


def test_a_proof_of_refusals_holds_too(object_store: ObjectStore) -> None:
    platform = platform_at(object_store.location)
    day = timedelta(days=1)
    make_day(platform, [decision(0)], DAY - day)
    dispatch_day(platform, DAY - day)
    say(platform, "suppression", MAILED[1], "suppressed")
    say(platform, "consent", MAILED[2], "withdrawn", about="profiling")
    say(platform, "time_zone", MAILED[3], "Asia/Shanghai")
    make_day(platform, [decision(n) for n in range(5)])
    notes = dispatch_day(platform)
    assert notes[1] == "refused 1 by consent, 1 by frequency_cap, 1 by suppression"
    found = proven(platform)
    assert found.holds, found.text
    assert (found.evidence.proof.counts["sent"], found.evidence.proof.records) == (2, 4)
    late = json.loads(platform.objects.get(outbox_key(platform, MAILED[3])) or b"")
    assert late["send_at"] == "2017-10-05T00:00:00+00:00", "eight in the morning in Shanghai"


def test_an_attempt_whose_fate_is_unknown_is_counted_as_such(platform: Platform) -> None:
    """A dispatcher died before it handed a message over, and its customer said stop before the rerun."""
    for key in (outbox_key(platform, MAILED[0]), ledger_key(MAILED[0], "settled")):
        platform.objects.delete(key)
    say(platform, "suppression", MAILED[0], "suppressed", hours=+3)
    for name in ("contact_proof", "sends"):
        manifest = platform.store.need(name, DAY)
        for file in ("_manifest.json", *(file[0] for file in manifest.files)):
            platform.objects.delete(f"{manifest.folder}/{file}")
    pipeline.run_step("dispatch", DAY, platform=platform, recompute="day")
    found = proven(platform)
    assert found.holds, found.text
    assert (found.evidence.proof.counts["sent"], found.evidence.proof.counts["unconfirmed"]) == (3, 1)


# -- tampering ------------------------------------------------------------------------------------------------------------
def say(platform: Platform, kind: Any, who: str, value: str, hours: float = -48, about: str = "") -> None:
    record = Record(kind, who, about, value, SEND_AT + timedelta(hours=hours), "test")
    assert ContactBook(platform.objects).add(record)


def change(platform: Platform, key: str, **values: Any) -> None:
    body = json.loads(platform.objects.get(key) or b"")
    platform.objects.put(key, (json.dumps({**body, **values}, sort_keys=True) + "\n").encode())


def ledger_key(who: str, name: str) -> str:
    return f"ledger/customer={who}/day={DAY}/{name}.json"


def outbox_key(platform: Platform, who: str) -> str:
    keys = platform.objects.keys(f"outbox/dt={DAY}/")
    return next(key for key in keys if json.loads(platform.objects.get(key) or b"")["customer_id"] == who)


def rewrite_proof(platform: Platform, edit: Callable[[dict[str, Any]], None]) -> None:
    """A proof that was changed with its manifest, so that the store finds nothing wrong with it."""
    manifest = platform.store.need("contact_proof", DAY)
    key = f"{manifest.folder}/document.json"
    body = json.loads(platform.objects.get(key) or b"")
    edit(body)
    raw = ContactProof.model_validate(body).to_bytes()
    platform.objects.put(key, raw)
    meta = json.loads(manifest.to_bytes())
    meta["files"] = [["document.json", hash_of(raw), len(raw)]]
    platform.objects.put(f"{manifest.folder}/_manifest.json", json.dumps(meta).encode())


def rehash(platform: Platform) -> None:
    """Let the proof name the ledger's entries as they are now: whoever changes an entry can change the proof as well."""

    def edit(body: dict[str, Any]) -> None:
        for contact in body["contacts"]:
            contact["ledger"] = {key: hash_of(platform.objects.get(key) or b"") for key in contact["ledger"]}

    rewrite_proof(platform, edit)


def contact_again(platform: Platform, who: str, day: Any, campaign: str = "18") -> None:
    """A whole contact beside dispatch: claim, verdict, end and outbox file of one more customer's day."""
    folder = f"ledger/customer={who}/day={day}/"
    keys = {
        name: platform.objects.get(ledger_key(MAILED[0], name)) or b"" for name in ("claim", "attempt-0", "settled")
    }
    claim = json.loads(keys["claim"]) | {"send_id": f"forged-{who}", "campaign_id": campaign, "decision_id": "forged"}
    platform.objects.put(f"{folder}claim.json", json.dumps(claim).encode())
    platform.objects.put(f"{folder}attempt-0.json", keys["attempt-0"])
    platform.objects.put(f"{folder}settled.json", keys["settled"])
    letter = json.loads(platform.objects.get(outbox_key(platform, MAILED[0])) or b"")
    letter |= {**claim, "customer_id": who, "sent_for": str(day)}
    platform.objects.put(f"outbox/dt={day}/forged-{who}.json", json.dumps(letter).encode())


def test_an_extra_outbox_file_is_found(platform: Platform) -> None:
    letter = platform.objects.get(outbox_key(platform, MAILED[0])) or b""
    platform.objects.put(f"outbox/dt={DAY}/deadbeef.json", letter)
    assert violations(platform) == {
        "outbox": (f"outbox/dt={DAY}/deadbeef.json is in the outbox, but the ledger knows no such send",)
    }


def test_a_lost_or_altered_outbox_file_is_found(platform: Platform) -> None:
    platform.objects.delete(outbox_key(platform, MAILED[0]))
    change(platform, outbox_key(platform, MAILED[1]), offer_id="18:c9", body="Everything is free!")
    wrong = violations(platform)
    assert set(wrong) == {"outbox"}
    text = "\n".join(wrong["outbox"])
    assert f"customer {MAILED[0]}: sent by the ledger, but outbox file" in text
    assert "its offer_id is not what was decided ('18:c9')" in text
    assert "its body is not what was decided ('Everything is free!')" in text


@pytest.mark.parametrize("name", ["claim", "attempt-0", "settled"])
def test_a_deleted_ledger_entry_is_found(platform: Platform, name: str) -> None:
    platform.objects.delete(ledger_key(MAILED[2], name))
    assert f"{ledger_key(MAILED[2], name)} is gone" in violations(platform)["ledger"]


def test_a_ledger_entry_that_was_changed_is_found(platform: Platform) -> None:
    change(platform, ledger_key(MAILED[2], "claim"), decision_id="d9-0002")
    wrong = violations(platform)
    assert wrong["ledger"] == (f"{ledger_key(MAILED[2], 'claim')} was changed",)
    assert "the ledger says already_sent, the proof sent" in wrong["decisions"][0]


def test_a_deleted_customer_is_found_even_where_the_proof_was_cleaned(platform: Platform) -> None:
    for name in ("claim", "attempt-0", "settled"):
        platform.objects.delete(ledger_key(MAILED[3], name))
    platform.objects.delete(outbox_key(platform, MAILED[3]))
    rewrite_proof(
        platform, lambda body: body.update(contacts=body["contacts"][:3], counts={**body["counts"], "sent": 3})
    )
    wrong = violations(platform)
    assert {"decisions", "counts"} <= set(wrong)
    assert "4 contacts decided, 3 accounted for in the ledger" in wrong["counts"]


def test_a_changed_decision_is_found_with_or_without_its_manifest(platform: Platform) -> None:
    manifest = platform.store.need("decisions", DAY)
    key = f"{manifest.folder}/{manifest.files[0][0]}"
    sound = platform.objects.get(key) or b""
    platform.objects.put(key, sound + b"!")
    wrong = violations(platform)
    assert "does not match its manifest" in wrong["pieces"][0]
    assert wrong["decisions"] == ("can't be checked: decisions can't be read",)
    platform.objects.put(key, sound)
    for name in ("_manifest.json", "document.json", manifest.files[0][0]):
        platform.objects.delete(f"{manifest.folder}/{name}")
    rows = [decision(n) for n in range(3)]
    frame = decisions([*rows, *(decision(n, action="no_contact", holdout=n == 4) for n in (3, 4, 5))])
    platform.store.write_table("decisions", DAY, frame, by(manifest.run))
    wrong = violations(platform)
    assert any("its content is" in words for words in wrong["inputs"])
    assert any(f"customer {MAILED[3]}" in words and "no decision asks for" in words for words in wrong["ledger"])


def test_a_send_in_quiet_hours_is_found(platform: Platform) -> None:
    """The whole chain was rewritten: verdict, outbox file and proof agree on three in the morning."""
    late = (SEND_AT + timedelta(hours=17)).isoformat()
    change(platform, ledger_key(MAILED[1], "attempt-0"), send_at=late)
    change(platform, outbox_key(platform, MAILED[1]), send_at=late)
    rehash(platform)
    assert violations(platform) == {
        "quiet_hours": (f"customer {MAILED[1]} is contacted at 03:00 in America/New_York, in the quiet hours",)
    }


def test_a_violated_cap_is_found(platform: Platform) -> None:
    contact_again(platform, MAILED[0], DAY - timedelta(days=3))
    assert violations(platform) == {
        "frequency_cap": (f"customer {MAILED[0]} is contacted for 2017-09-30, 2017-10-03; the cap is 1 in 7 days",)
    }


def test_campaigns_that_exclude_one_another_are_found(object_store: ObjectStore) -> None:
    contact = {"consent_default": "existing_customers", "exclusions": [{"campaigns": ["18", "22"], "days": 20}]}
    platform = platform_at(object_store.location, contact=contact)
    make_day(platform, [decision(0)])
    dispatch_day(platform)
    contact_again(platform, MAILED[0], DAY - timedelta(days=9), campaign="22")
    assert set(violations(platform)) == {"campaign_conflict"}


def test_consent_withdrawn_before_the_send_is_found(platform: Platform) -> None:
    """After dispatch and before the planned hour: nobody broke a rule, and the message must come back all the same."""
    say(platform, "consent", MAILED[0], "withdrawn", hours=-3, about="marketing_post")
    say(platform, "consent", MAILED[1], "withdrawn", hours=+3, about="marketing_post")
    wrong = violations(platform)
    assert set(wrong) == {"consent"}
    assert len(wrong["consent"]) == 1
    assert f"customer {MAILED[0]}: consent marketing_post withdrawn at 2017-10-04 11:00 UTC" in wrong["consent"][0]


def test_a_contact_against_a_word_that_was_read_is_found(platform: Platform) -> None:
    """As a dispatch would leave it that read a withdrawal and sent all the same."""
    say(platform, "consent", MAILED[0], "withdrawn", about="profiling")
    say(platform, "suppression", MAILED[1], "suppressed")
    seen = {
        key: hash_of(platform.objects.get(key) or b"") for key in platform.objects.keys("_contact/")
    }  # fmt: skip
    for who in MAILED[:2]:
        change(platform, ledger_key(who, "attempt-0"), seen={k: d for k, d in seen.items() if who in k})
    wrong = violations(platform)
    assert wrong["consent"] == (
        f"customer {MAILED[0]} was contacted, but what dispatch read says: consent profiling withdrawn",
    )
    assert wrong["suppression"] == (f"customer {MAILED[1]} was contacted, but what dispatch read says: suppressed",)
    assert {"ledger", "records"} <= set(wrong), "the proof still names the entries as they were"


def test_a_suppressed_customer_who_was_contacted_is_found(platform: Platform) -> None:
    say(platform, "suppression", MAILED[0], "suppressed", hours=-1)
    wrong = violations(platform)
    assert set(wrong) == {"suppression"}
    assert f"customer {MAILED[0]}: suppressed" in wrong["suppression"][0]


def test_a_contact_record_that_was_read_and_is_gone_is_found(object_store: ObjectStore) -> None:
    platform = platform_at(object_store.location, contact={"consent_default": "refuse"})
    for purpose in ("marketing_post", "profiling"):
        say(platform, "consent", MAILED[0], "given", about=purpose)
    make_day(platform, [decision(0), decision(1)])
    dispatch_day(platform)
    assert violations(platform) == {}
    for key in platform.objects.keys("_contact/"):
        platform.objects.delete(key)
    wrong = violations(platform)
    assert len(wrong["records"]) == 2
    assert "what dispatch read says: consent marketing_post never given" in wrong["consent"][0]


def test_a_held_out_customer_who_was_contacted_is_found(platform: Platform) -> None:
    contact_again(platform, HELD, DAY)
    wrong = violations(platform)
    assert wrong["holdout"] == (f"customer {HELD} is held out and was contacted",)
    assert wrong["ledger"] == (f"customer {HELD} has a sent contact for {DAY} that no decision asks for",)


def test_somebody_whom_no_decision_contacts_is_found(platform: Platform) -> None:
    contact_again(platform, LEFT, DAY)
    assert set(violations(platform)) == {"ledger"}


def test_counts_that_do_not_add_up_are_found(platform: Platform) -> None:
    rewrite_proof(platform, lambda body: body["counts"].update(held_out=0, contacts=5, sent=5))
    assert violations(platform) == {
        "counts": (
            "contacts: found 4, the proof says 5", "held_out: found 1, the proof says 0", "sent: found 4, the proof says 5",
        )
    }  # fmt: skip


def test_settings_that_were_bent_afterwards_are_found(platform: Platform) -> None:
    contact_again(platform, MAILED[0], DAY - timedelta(days=3))
    rewrite_proof(platform, lambda body: body["settings"]["strategy"].update(contact_cap=9))
    assert violations(platform) == {
        "pieces": ("the settings in the proof are not those that the dispatch was derived from",)
    }


def test_purposes_that_were_left_out_are_found(platform: Platform) -> None:
    rewrite_proof(platform, lambda body: body.update(purposes=["marketing_post"]))
    assert "needs consent for marketing_post, profiling" in violations(platform)["pieces"][0]


def test_another_answer_or_strategy_than_the_approved_is_found(platform: Platform) -> None:
    publish(platform, decisions([decision(0)]), run="r2")
    manifest = platform.store.need("published", DAY)

    def edit(body: dict[str, Any]) -> None:
        next(i for i in body["inputs"] if i["name"] == "published").update(uri=manifest.folder, digest=manifest.digest)

    rewrite_proof(platform, edit)
    wrong = violations(platform)
    assert wrong["approval"] == ("approved was run r1, published is run r2",)
    assert any("published is decisions" in words for words in wrong["inputs"])


def test_messages_are_those_of_the_decisions(platform: Platform) -> None:
    manifest = platform.store.need("messages", DAY)
    platform.objects.delete(f"{manifest.folder}/_manifest.json")
    few = messages_for(decisions([decision(n) for n in range(3)]))
    platform.store.write_table("messages", DAY, few, by(manifest.run))
    wrong = violations(platform)
    assert "its content is" in wrong["inputs"][0]
    assert len(wrong["outbox"]) == 1
    assert "no message was written for decision d1-0003" in wrong["outbox"][0]
    platform.objects.delete(f"{manifest.folder}/_manifest.json")
    wrong = violations(platform)
    assert "is gone" in wrong["pieces"][0]
    assert wrong["outbox"] == ("can't be checked: messages can't be read",)


# -- the command ------------------------------------------------------------------------------------------------------------
def test_without_a_finished_dispatch_there_is_nothing_to_prove(object_store: ObjectStore) -> None:
    platform = platform_at(object_store.location)
    with pytest.raises(MissingArtefact, match="contact_proof of 2017-10-03"):
        proven(platform)
    with pytest.raises(PermanentError, match="expected a partition"):
        prove_export(platform, "yesterday")


def test_the_command_says_what_is_wrong_and_fails(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = platform.environment
    for name, value in {
        "MKTGEN_S3_ENDPOINT": place.s3_endpoint, "MKTGEN_S3_BUCKET": place.s3_bucket, "MKTGEN_S3_PREFIX": place.s3_prefix,
        "MKTGEN_PSEUDONYM_KEY": place.pseudonym_key, "MKTGEN_CONFIG": "",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    assert command.main(["prove", str(DAY)]) == 0
    assert "note: settings have changed since" in capsys.readouterr().out
    assert (
        command.main(["suppress", "--customer", MAILED[0], "--reason", "complaint", "--since", "2017-10-04T01:00:00Z"])
        == 0
    )
    assert command.main(["prove", str(DAY)]) == 1
    said = capsys.readouterr().out
    assert "DOES NOT HOLD: 1 violations" in said
    assert f"customer {MAILED[0]}: suppressed at 2017-10-04 01:00 UTC" in said
    assert command.main(["prove", "2017-10-09"]) == 1
