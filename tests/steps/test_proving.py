"""The prover against dispatches that were tampered with, on a real S3: each fault is found, and named."""

from __future__ import annotations

import pytest

from mktgen.steps.runner import Platform
from mktgen.store import ObjectStore
from tests.support.dispatch_world import DAY, decision, dispatch_day, make_day, platform_at, proven, violations


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
    print(found.text)
    assert violations(platform) == {}
    assert found.evidence.proof.counts == {
        "decisions": 6, "no_contact": 1, "held_out": 1, "contacts": 4, "sent": 4, "already_sent": 0, "unconfirmed": 0,
        "refused": 0,
    }  # fmt: skip
    assert proven(platform).text.endswith("holds")
    assert DAY
