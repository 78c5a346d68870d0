"""kill -9 of dispatches at random moments, up to three at once, while old days are decided anew, on a real SeaweedFS."""

from __future__ import annotations

import pytest

from mktgen.store import ObjectStore
from tests.support.kill_storm import storm
from tests.support.s3_server import S3Server


@pytest.mark.parametrize("kills", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_killed_dispatches_contact_each_customer_once_and_lose_nobody(
    s3_server: S3Server, object_store: ObjectStore, kills: int
) -> None:
    books = storm(object_store.location, s3_server.environment, kills, seed=kills, say=print)
    assert books.kills == kills
    assert books.unproven == []
    assert (books.duplicates, books.lost, books.backfilled_sends, books.unconfirmed) == (0, 0, 0, 0)
    assert books.sent == books.outbox == books.settled == books.planned
    assert books.refused == books.decided - books.planned
