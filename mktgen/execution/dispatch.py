"""Take an approved strategy to its customers: fails closed, and contacts nobody twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Final, Literal, TypeVar

import polars as pl

from mktgen.contracts import SENDS
from mktgen.documents import Approval, PublishedStrategy
from mktgen.errors import NotAllowed, TransientError
from mktgen.execution.channels.base import Channel, Message, Receipt
from mktgen.execution.contact_book import ContactBook
from mktgen.execution.ledger import Attempt, Claim, Entry, Ledger, Send, Settlement, Verdict, send_id
from mktgen.execution.rules import HARD_STOPS, Facts, OtherContact, Policy, judge

NO_CONTACT: Final = "no_contact"
OTHER_CAMPAIGN: Final = "other_campaign"  # the refusal of a customer's day that another campaign has
OVERTAKEN: Final = "overtaken"  # the refusal of what a later day's strategy found not yet sent
SUPERSEDED: Final = "superseded"  # the refusal of a claim whose decision was made anew before anything was sent
CHANNEL: Final = "channel"  # the refusal by a channel
_NEVER_REPEATED: Final = HARD_STOPS | {OVERTAKEN}  # verdicts under which an attempt of unknown end is let be
_THREADS: Final = 8
T = TypeVar("T")
R = TypeVar("R")

Status = Literal["sent", "already_sent", "unconfirmed", "refused"]


@dataclass(frozen=True)
class Trace:
    """How one send came to its status, by objects that never change. entries: of the ledger; seen: key -> sha256."""

    send_id: str
    rule: str
    send_at: str
    entries: tuple[Entry, ...]
    seen: dict[str, str]


@dataclass(frozen=True)
class Dispatch:
    """What the ledger says after a dispatch. `sends`: contracts.SENDS; `sent_now`: messages this call handed over.

    A second run over the same decisions gives the same `sends` and `traces` (by send_id) and `sent_now` 0.
    """

    sends: pl.DataFrame
    sent_now: int
    traces: tuple[Trace, ...]


@dataclass(frozen=True)
class Desk:
    """What a contact is made with. clock: of a channel that hands over at once, None where messages are held.

    over: why nothing more is begun on this day, "" while it may be. What was begun is then settled, the rest refused.
    """

    channel: Channel
    ledger: Ledger
    book: ContactBook
    policy: Policy
    clock: Callable[[], datetime] | None = None
    over: str = ""

    @property
    def policy_now(self) -> Policy:
        """What holds for a contact that is judged now: what is handed over at once is sent now, not when it was planned."""
        return replace(self.policy, send_at=self.clock()) if self.clock else self.policy


def dispatch(
    decisions: pl.DataFrame,
    messages: pl.DataFrame,
    approval: Approval | None,
    published: PublishedStrategy,
    newest: date,
    live_from: date | None,
    partition: date,
    desk: Desk,
) -> Dispatch:
    """Send the messages of one published strategy, each once, where the rules of contact allow it (rules.py).

    decisions: contracts.DECISIONS, messages: contracts.MESSAGES, both of `published`. newest: the newest published
    partition. In order of customer, so that a run that was killed continues where it stopped; by several threads where
    the channel bears it: no two sends share a customer, so they share no object of the ledger.

    Status of a row: `sent`, this decision reached its channel, now or in an earlier run; `already_sent`, an earlier
    decision for the same customer, campaign and channel did (its decision_id is in the row); `unconfirmed`, an attempt
    was begun whose end nobody knows, and it is not repeated: a person looks; `refused`, certainly not sent.

    Raises NotAllowed before anything is sent where the strategy may not be sent, and TransientError where the channel
    can't be reached or put messages off: what was sent is in the ledger, run again.
    """
    check_allowed(approval, published, newest, live_from, partition)
    channel = desk.channel
    planned = plan(decisions, messages, channel.name, partition)
    threads = _THREADS if channel.concurrent else 1
    try:
        results = _each(lambda pair: _contact(*pair, desk), planned, threads)
    finally:
        channel.close()
    deferred = sum(result.status is None for result in results)
    sent_now = sum(result.sent_now for result in results)
    if deferred:
        raise TransientError(
            f"{deferred} of {len(planned)} messages were put off by channel {channel.name}; {sent_now} were sent. "
            "Run dispatch again: what was sent is in the ledger and is not sent twice."
        )
    rows = [_row(result, send) for result, (send, _) in zip(results, planned, strict=True)]
    traces = [_trace(result, send) for result, (send, _) in zip(results, planned, strict=True)]
    frame = pl.DataFrame(rows, schema=SENDS.columns).sort("send_id")
    return Dispatch(SENDS.check(frame), sent_now, tuple(sorted(traces, key=lambda trace: trace.send_id)))


def _each(work: Callable[[T], R], items: Sequence[T], threads: int) -> list[R]:
    if threads == 1:
        return [work(item) for item in items]
    pool = ThreadPoolExecutor(threads)
    try:
        return list(pool.map(work, items))
    finally:
        pool.shutdown(cancel_futures=True)


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
        send.send_id, send.decision_id, send.customer_id, send.campaign_id, send.offer_id, send.sent_for, "",
        text["language"], text["subject"], text["body"],
    )  # fmt: skip


@dataclass(frozen=True)
class _Result:
    """`status` None: certainly not sent, to be tried again."""

    status: Status | None
    detail: str
    claim: Claim
    rule: str = ""
    attempt: Attempt | None = None
    settled: Settlement | None = None
    sent_now: bool = False


def _contact(send: Send, message: Message | None, desk: Desk) -> _Result:
    channel, ledger = desk.channel, desk.ledger
    if not desk.over:
        channel.open()  # before the claim: a channel that is down leaves no claim behind
    claim = ledger.claim(send)
    if claim.send_id != send.send_id:  # whose day it is not, that one never touches it
        return _Result("refused", f"this customer's day belongs to campaign {claim.campaign_id}", claim, OTHER_CAMPAIGN)
    settled = None if claim.ours else ledger.settlement(send)
    if settled is not None:
        return _result(send, claim, ledger.verdict(send, settled.attempt), settled)
    superseded = claim.decision_id != send.decision_id
    verdict = _superseded(claim) if superseded else _verdict(send, message, desk)
    attempt = ledger.attempt(send, verdict)
    if not attempt.go:
        return _result(send, claim, attempt, ledger.settle(send, attempt, "refused", attempt.detail, attempt.rule))
    if (
        message is None
        or superseded
        or not (attempt.ours or (channel.idempotent and verdict.rule not in _NEVER_REPEATED))
    ):
        return _result(send, claim, attempt, ledger.settlement(send))
    return _record(send, claim, attempt, channel.send(replace(message, send_at=attempt.send_at)), ledger)


def _superseded(claim: Claim) -> Verdict:
    """Of a day that an earlier decision took and didn't use. An attempt of that decision that is open stays open."""
    words = f"the day was claimed for decision {claim.decision_id}, which was made anew before it was sent"
    return Verdict(SUPERSEDED, f"{SUPERSEDED}: {words}", "", {})


def _verdict(send: Send, message: Message | None, desk: Desk) -> Verdict:
    """Judged after the claim: of two days' dispatches that meet, at least one sees the other's claim."""
    if desk.over:
        return Verdict(OVERTAKEN, f"{OVERTAKEN}: {desk.over}", "", {})
    page = desk.book.page(send.customer_id)
    contacts = desk.ledger.contacts(send, desk.policy.widest_days)
    others = tuple(OtherContact(contact.day, contact.campaign_id) for contact in contacts)
    facts = Facts(send.customer_id, send.campaign_id, send.sent_for, message is not None, page.records, others)
    policy = desk.policy_now
    judgement = judge(facts, policy)
    seen = page.seen | {contact.claim.key: contact.claim.sha256 for contact in contacts}
    moment = policy.send_at if desk.clock else judgement.send_at  # of a refusal too, where a clock was looked at
    when = moment.isoformat() if moment else ""
    return Verdict(judgement.rule, judgement.detail, when, seen)


def _record(send: Send, claim: Claim, attempt: Attempt, receipt: Receipt, ledger: Ledger) -> _Result:
    if receipt.status == "sent" or receipt.status == "refused":
        rule = CHANNEL if receipt.status == "refused" else ""
        settled = ledger.settle(send, attempt, receipt.status, receipt.detail, rule)
        return _result(send, claim, attempt, settled, sent_now=settled.ours and settled.status == "sent")
    if receipt.status == "deferred" and attempt.ours:
        ledger.fail(send, attempt, receipt.detail)
        return _Result(None, receipt.detail, claim)
    return _result(send, claim, attempt, ledger.settlement(send))


def _result(
    send: Send, claim: Claim, attempt: Attempt | None, settled: Settlement | None, sent_now: bool = False
) -> _Result:
    """The row a ledger's state gives; the same on every later run."""
    if settled is None:
        words = "an attempt was begun and its end is not known; it is not repeated"
        return _Result("unconfirmed", words, claim, attempt=attempt)
    if settled.status == "sent" and claim.decision_id != send.decision_id:
        words = f"sent for an earlier decision: {settled.detail}"
        return _Result("already_sent", words, claim, attempt=attempt, settled=settled)
    return _Result(settled.status, settled.detail, claim, settled.rule, attempt, settled, sent_now)


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


def _trace(result: _Result, send: Send) -> Trace:
    parts = (result.claim, result.attempt, result.settled)
    entries = tuple(part.entry for part in parts if part is not None)
    attempt = result.attempt
    return Trace(
        send.send_id, result.rule, attempt.send_at if attempt else "", entries, dict(attempt.seen) if attempt else {}
    )
