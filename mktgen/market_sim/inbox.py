"""What was delivered to the market: one JSON object per message, written once by the channel, read by the source.

    market/inbox/dt=<partition it was decided for>/<send_id>.json

A message decided for a day arrives on the next one: that day is its wave. Objects are never changed, so their keys say
which deliveries there are, and two equal listings hold the same messages.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from mktgen.errors import PermanentError

PREFIX: Final = "market/inbox"


@dataclass(frozen=True)
class Delivery:
    """`customer_id` as the shop knows it: a pseudonym. subject, body: as the customer reads them."""

    send_id: str
    customer_id: str
    offer_id: str
    sent_for: date
    subject: str
    body: str

    @property
    def arrives(self) -> date:
        return arrival(self.sent_for)


def arrival(sent_for: date) -> date:
    """The day on which a message decided for a day is there."""
    return sent_for + timedelta(days=1)


def folder(sent_for: date) -> str:
    return f"{PREFIX}/dt={sent_for.isoformat()}/"


def key(sent_for: date, send_id: str) -> str:
    return f"{folder(sent_for)}{send_id}.json"


def parse(name: str, body: bytes) -> Delivery:
    """A message of the inbox. Raises PermanentError naming the object that can't be read."""
    try:
        fields = json.loads(body)
        texts = (str(fields["subject"]), str(fields["body"]))
        day = date.fromisoformat(fields["sent_for"])
        delivery = Delivery(fields["send_id"], fields["customer_id"], fields["offer_id"], day, *texts)
    except (ValueError, KeyError, TypeError) as error:
        raise PermanentError(
            f"{name} is no message of the market's channel ({error!r}): remove it, or mend it"
        ) from None
    if key(delivery.sent_for, delivery.send_id) != name:
        raise PermanentError(
            f"{name} holds the message {delivery.send_id} of {delivery.sent_for}: remove it, or mend it"
        )
    return delivery
