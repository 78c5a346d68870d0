"""What every channel takes and gives. One file in this package = one channel; the file's name is its `name`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import ClassVar, Literal, Protocol, Self

from mktgen.settings import ExecutionSettings

AddressLookup = Callable[[str], str | None]


class ObjectWriter(Protocol):
    """The only thing a channel may know of S3."""

    def put_once(self, key: str, body: bytes) -> bool:
        """Write unless the key exists; False: it exists and nothing was written."""
        ...


@dataclass(frozen=True)
class Message:
    """One message for one customer. It holds a pseudonym; an address is looked up by the channel that needs one."""

    send_id: str
    decision_id: str
    customer_id: str
    campaign_id: str
    offer_id: str
    sent_for: date  # the partition it was decided for
    send_at: str  # when it is to reach the customer (ISO, UTC); kept by channels that hold messages
    language: str
    subject: str
    body: str


@dataclass(frozen=True)
class Receipt:
    """What a channel knows after an attempt.

    sent: accepted for delivery, now or by an earlier attempt. refused: certainly not sent and never will be.
    deferred: certainly not sent, may be tried again. unknown: the answer was lost, it may have been sent.
    """

    status: Literal["sent", "refused", "deferred", "unknown"]
    detail: str


@dataclass(frozen=True)
class Connections:
    """What a channel may be built from: places and secrets come in here, never from the environment."""

    objects: ObjectWriter
    settings: ExecutionSettings
    address_of: AddressLookup  # the contact vault: customer_id -> address, None where there is none
    smtp_login: tuple[str, str] | None = None


class Channel(ABC):
    """A way to reach a customer. Subclasses live one per file; the file's name is `name`.

    `idempotent`: sending the same `send_id` twice reaches the customer once, so an attempt whose outcome is unknown
    may be repeated. `needs_address`: reads the contact vault. `purposes`: what a customer must have consented to.
    `form`: what its messages look like (copywriting/forms.py). `holds_messages`: keeps a message until its `send_at`.
    `concurrent`: several threads may send at once.
    """

    name: ClassVar[str]
    idempotent: ClassVar[bool]
    needs_address: ClassVar[bool]
    purposes: ClassVar[tuple[str, ...]]
    form: ClassVar[Literal["email", "sms", "push", "banner"]] = "email"
    holds_messages: ClassVar[bool] = False
    concurrent: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def create(cls, connections: Connections) -> Self: ...

    @abstractmethod
    def open(self) -> None:
        """Make sure that messages can be taken, before any is claimed. Raises TransientError where they can't."""

    @abstractmethod
    def send(self, message: Message) -> Receipt:
        """Try once. Never raises for what happened to this message: the receipt says it."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections. May be called more than once."""
