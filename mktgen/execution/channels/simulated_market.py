"""Messages to the customers of a SIMULATED market: one JSON object per message in its inbox, which its source reads."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import ClassVar, Self

from mktgen.execution.channels.base import Channel, Connections, Message, ObjectWriter, Receipt
from mktgen.market_sim import inbox


class SimulatedMarketChannel(Channel):
    """Idempotent: the key is the `send_id` and is written by a conditional put, so the first write stays."""

    name: ClassVar[str] = "simulated_market"
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
        key = inbox.key(message.sent_for, message.send_id)
        body = {**asdict(message), "sent_for": message.sent_for.isoformat()}
        self._objects.put_once(key, (json.dumps(body, sort_keys=True, ensure_ascii=False, indent=1) + "\n").encode())
        return Receipt("sent", key)

    def close(self) -> None:
        """Nothing is held open."""
