"""Take an approved strategy to its customers: fails closed, and contacts nobody twice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal

import polars as pl

from mktgen.contracts import SENDS
from mktgen.documents import Approval, PublishedStrategy
from mktgen.errors import NotAllowed, TransientError
from mktgen.execution.channels.base import Channel, Message, Receipt
from mktgen.execution.ledger import Attempt, Claim, Ledger, Send, Settlement, send_id
from mktgen.settings import StrategySettings

NO_CONTACT: Final = "no_contact"

Status = Literal["sent", "already_sent", "unconfirmed", "refused"]


@dataclass(frozen=True)
class Dispatch:
    """What the ledger says after a dispatch. `sends`: contracts.SENDS; `sent_now`: messages this call handed over.

    A second run over the same decisions gives the same `sends` and `sent_now` 0.
    """

    sends: pl.DataFrame
    sent_now: int


def dispatch(
    decisions: pl.DataFrame,
    messages: pl.DataFrame,
    approval: Approval | None,
    published: PublishedStrategy,
    newest: date,
    live_from: date | None,
    partition: date,
    channel: Channel,
    ledger: Ledger,
    settings: StrategySettings,
) -> Dispatch:
    """Send the messages of one published strategy, each once.

    decisions: contracts.DECISIONS, messages: contracts.MESSAGES, both of `published`. newest: the newest published
    partition. In order of customer, so that a run that was killed continues where it stopped.

    Status of a row: `sent`, this decision reached its channel, now or in an earlier run; `already_sent`, an earlier
    decision for the same customer, campaign and channel did (its decision_id is in the row); `unconfirmed`, an attempt
    was begun whose end nobody knows, and it is not repeated: a person looks; `refused`, certainly not sent.

    Raises NotAllowed before anything is sent where the strategy may not be sent, and TransientError where the channel
    can't be reached or put messages off: what was sent is in the ledger, run again.
    """
    check_allowed(approval, published, newest, live_from, partition)
    planned = plan(decisions, messages, channel.name, partition)
    rows: list[dict[str, Any]] = []
    sent_now = deferred = 0
    try:
        for send, message in planned:
            result = _contact(send, message, channel, ledger, settings)
            sent_now += result.sent_now
            deferred += result.status is None
            rows.append(_row(result, send))
    finally:
        channel.close()
    if deferred:
        raise TransientError(
            f"{deferred} of {len(planned)} messages were put off by channel {channel.name}; {sent_now} were sent. "
            "Run dispatch again: what was sent is in the ledger and is not sent twice."
        )
    frame = pl.DataFrame(rows, schema=SENDS.columns).sort("send_id")
    return Dispatch(SENDS.check(frame), sent_now)


def check_allowed(
    approval: Approval | None, published: PublishedStrategy, newest: date, live_from: date | None, partition: date
) -> None:
    """Raise NotAllowed unless a person approved exactly this strategy, and it is the newest, and sending is live."""
    if live_from is None:
        raise NotAllowed("execution.live_from is not set, so nothing is ever sent. Set it to the first day to send.")
    if partition < live_from:
        raise NotAllowed(f"{partition} lies before execution.live_from ({live_from}): a replayed day contacts nobody.")
    if partition != newest:
        raise NotAllowed(f"{partition} is not the newest published day ({newest}): only the newest is ever sent.")
    if published.partition != partition:
        raise NotAllowed(f"the published strategy is of {published.partition}, not of {partition}.")
    if approval is None:
        raise NotAllowed(f"the strategy of {partition} has no approval: a person must answer first.")
    if not approval.approved:
        raise NotAllowed(f"the strategy of {partition} was rejected by {approval.responder}: {approval.note or '-'}")
    run = _run_of(published.strategy_uri)
    if approval.partition != partition or approval.strategy_run != run:
        raise NotAllowed(
            f"the approval is for run {approval.strategy_run} of {approval.partition}, but run {run} of {partition} is "
            "published: ask for a new answer."
        )


def _run_of(uri: str) -> str:
    run = next((piece[4:] for piece in uri.split("/") if piece.startswith("run=")), "")
    if not run:
        raise NotAllowed(f"{uri} doesn't name a run, so it can't be compared with the approval.")
    return run


def plan(
    decisions: pl.DataFrame, messages: pl.DataFrame, channel: str, partition: date
) -> list[tuple[Send, Message | None]]:
    """Contacts that the decisions ask for, by customer; None where no message was written for one.

    Raises NotAllowed where the two tables disagree, or a customer has two decisions, or a held-out one a message.
    """
    contacts = decisions.filter((pl.col("action") != NO_CONTACT) & ~pl.col("holdout")).sort("customer_id")
    _refuse_any(contacts.filter(pl.col("customer_id").is_duplicated()), "more than one decision of a day for")
    _refuse_any(contacts.filter(pl.col("channel").fill_null("") != channel), f"a decision not for channel {channel}:")
    _refuse_any(
        contacts.filter(pl.col("campaign_id").is_null() | pl.col("offer_id").is_null()), "a contact without an offer:"
    )
    keys = ["decision_id", "customer_id", "campaign_id", "channel"]
    _refuse_any(messages.join(contacts, on=keys, how="anti"), "a message that no decision asks for:")
    written = {row["decision_id"]: row for row in messages.iter_rows(named=True)}
    planned = []
    for row in contacts.iter_rows(named=True):
        customer, campaign = str(row["customer_id"]), str(row["campaign_id"])
        identity = send_id(customer, campaign, channel, partition)
        send = Send(identity, row["decision_id"], customer, campaign, row["offer_id"], channel, partition)
        text = written.get(row["decision_id"])
        planned.append((send, None if text is None else _message(send, text)))
    return planned


def _refuse_any(wrong: pl.DataFrame, what: str) -> None:
    if wrong.height:
        example = sorted(wrong["decision_id"].to_list())[0]
        raise NotAllowed(f"{what} decision {example} ({wrong.height} rows in all); nothing was sent.")


def _message(send: Send, text: dict[str, Any]) -> Message:
    return Message(
        send.send_id, send.decision_id, send.customer_id, send.campaign_id, send.offer_id, send.sent_for,
        text["language"], text["subject"], text["body"],
    )  # fmt: skip


@dataclass(frozen=True)
class _Result:
    """`status` None: certainly not sent, to be tried again."""

    status: Status | None
    detail: str
    claim: Claim
    sent_now: bool = False


def _contact(
    send: Send, message: Message | None, channel: Channel, ledger: Ledger, settings: StrategySettings
) -> _Result:
    channel.open()  # before the claim: a channel that is down leaves no claim behind
    claim = ledger.claim(send)
    settled = None if claim.ours else ledger.settlement(send)
    foreign = claim.send_id != send.send_id or claim.decision_id != send.decision_id
    if settled is not None or foreign:  # whose day it is not, that one never touches it
        return _result(send, claim, settled)
    refusal = _refusal(send, message, ledger, settings)
    attempt = ledger.attempt(send, refusal)
    if not attempt.go:
        return _result(send, claim, ledger.settle(send, "refused", attempt.detail))
    if message is None or not (attempt.ours or channel.idempotent):
        return _result(send, claim, ledger.settlement(send))
    return _record(send, claim, attempt, channel.send(message), ledger)


def _refusal(send: Send, message: Message | None, ledger: Ledger, settings: StrategySettings) -> str | None:
    if message is None:
        return "no message was written for this decision"
    others = ledger.contacts(send, settings.contact_cap_days)
    if len(others) >= settings.contact_cap:
        days = ", ".join(day.isoformat() for day in sorted(others))
        return f"contact cap: {settings.contact_cap} in {settings.contact_cap_days} days, contacted for {days}"
    return None


def _record(send: Send, claim: Claim, attempt: Attempt, receipt: Receipt, ledger: Ledger) -> _Result:
    if receipt.status == "sent" or receipt.status == "refused":
        settled = ledger.settle(send, receipt.status, receipt.detail)
        return _result(send, claim, settled, sent_now=settled.ours and settled.status == "sent")
    if receipt.status == "deferred" and attempt.ours:
        ledger.fail(send, attempt, receipt.detail)
        return _Result(None, receipt.detail, claim)
    return _result(send, claim, ledger.settlement(send))


def _result(send: Send, claim: Claim, settled: Settlement | None, sent_now: bool = False) -> _Result:
    """The row a ledger's state gives; the same on every later run."""
    if claim.send_id != send.send_id:
        return _Result("refused", f"this customer's day belongs to campaign {claim.campaign_id}", claim)
    if settled is None:
        return _Result("unconfirmed", "an attempt was begun and its end is not known; it is not repeated", claim)
    if settled.status == "sent" and claim.decision_id != send.decision_id:
        return _Result("already_sent", f"sent for an earlier decision: {settled.detail}", claim)
    return _Result(settled.status, settled.detail, claim, sent_now)


def _row(result: _Result, send: Send) -> dict[str, Any]:
    """What was really sent is what the ledger's claim says, where the claim is for this send."""
    owner = result.claim if result.claim.send_id == send.send_id else send
    return {
        "send_id": send.send_id,
        "decision_id": owner.decision_id,
        "customer_id": send.customer_id,
        "campaign_id": send.campaign_id,
        "offer_id": owner.offer_id,
        "channel": send.channel,
        "sent_for": send.sent_for,
        "status": result.status,
        "detail": result.detail,
    }
