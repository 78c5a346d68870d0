"""A sender that dies between the headers and the body of a conditional put leaves nothing, on a real SeaweedFS."""

from __future__ import annotations

import socket
import time
from typing import Any
from urllib.parse import urlparse

import pytest

from mktgen.store import ObjectStore

BODY = b'{"status": "sent"}\n'


class _CutOff(Exception):
    """Raised in place of sending, to have the request as it would have gone out."""


def _request_of(objects: ObjectStore, key: str) -> Any:
    kept: list[Any] = []

    def keep(request: Any, **_: Any) -> None:
        kept.append(request)
        raise _CutOff

    objects._client.meta.events.register("before-send.s3.PutObject", keep)
    with pytest.raises(_CutOff):
        objects.put_once(key, BODY)
    return kept[0]


@pytest.mark.parametrize("sent", [0, 1, len(BODY) - 1])
def test_a_put_that_was_cut_off_leaves_no_object_and_may_be_made_again(object_store: ObjectStore, sent: int) -> None:
    request = _request_of(ObjectStore(object_store.location), "torn.json")
    assert request.headers["Expect"] == b"100-continue"
    where = urlparse(request.url)
    words = {name: value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()}
    lines = [f"PUT {where.path} HTTP/1.1", f"Host: {where.netloc}", *(f"{name}: {words[name]}" for name in words)]
    with socket.create_connection((str(where.hostname), where.port or 80), timeout=10) as wire:
        wire.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        assert wire.recv(100).startswith(b"HTTP/1.1 100")  # the server waits for the body; the sender is killed here
        wire.sendall(BODY[:sent])
    for _ in range(10):  # half a second: without a checksum the empty object was there at once
        assert object_store.get("torn.json") is None
        time.sleep(0.05)
    assert object_store.put_once("torn.json", BODY)
    assert object_store.get("torn.json") == BODY
