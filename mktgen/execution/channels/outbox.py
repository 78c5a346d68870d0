"""Messages as files: one JSON object per message under outbox/, for a mailing house or any other system to fetch."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import date
from typing import ClassVar, Self

from mktgen.execution.channels.base import Channel, Connections, Message, ObjectWriter, Receipt


class OutboxChannel(Channel):
    """Idempotent: the key is the `send_id` and is written by a conditional put, so the first write stays."""

    name: ClassVar[str] = "outbox"
    idempotent: ClassVar[bool] = True
    needs_address: ClassVar[bool] = False
    purposes: ClassVar[tuple[str, ...]] = ("marketing_post", "profiling")
    holds_messages: ClassVar[bool] = True
    concurrent: ClassVar[bool] = True

    def __init__(self, objects: ObjectWriter) -> None:
        self._objects = objects

    @classmethod
    def create(cls, connections: Connections) -> Self:
        return cls(connections.objects)

    def open(self) -> None:
        """Nothing to open: the object writer connects by itself and raises for itself."""

    def send(self, message: Message) -> Receipt:
        key = outbox_key(message.sent_for, message.send_id)
        body = {**asdict(message), "sent_for": message.sent_for.isoformat()}
        text = json.dumps(body, sort_keys=True, ensure_ascii=False, indent=1) + "\n"
        self._objects.put_once(key, text.encode())
        return Receipt("sent", key)

    def close(self) -> None:
        """Nothing is held open."""


def outbox_key(sent_for: date, send_id: str) -> str:
    """Where a message lies: outbox/dt=<partition>/<send_id>.json."""
    return f"outbox/dt={sent_for.isoformat()}/{send_id}.json"
