"""The mail channel against a real SMTP server on loopback."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mktgen.errors import NotAllowed, TransientError
from mktgen.execution.channels.base import Connections, Message
from mktgen.execution.channels.smtp import SmtpChannel, compose
from mktgen.execution.dispatch import Dispatch, dispatch
from mktgen.settings import ExecutionSettings
from mktgen.store import ObjectStore
from tests.execution.conftest import DAY, approval, decision, decisions, desk, messages_for, published

ADDRESSES = {f"customer{n:04d}": f"person{n}@example.com" for n in range(4)}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Mailbox:
    """An aiosmtpd handler that keeps mail; `rcpt` and `data` may answer otherwise."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.rcpt: list[str] = []
        self.data: list[str] = []

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        answer = self.rcpt.pop() if self.rcpt else "250 OK"
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        answer = self.data.pop() if self.data else "250 OK"
        if answer.startswith("250") or answer == "drop":
            assert isinstance(envelope.content, bytes)
            parsed = message_from_bytes(envelope.content, policy=policy.default)
            assert isinstance(parsed, EmailMessage)
            self.mails.append(parsed)
        if answer == "drop":  # accepted, but the answer is lost
            server.transport.close()
        return answer


Start = Callable[..., tuple[Mailbox, ExecutionSettings]]


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[Controller] = []

    def begin(**options: Any) -> tuple[Mailbox, ExecutionSettings]:
        mailbox, port = Mailbox(), free_port()
        controller = Controller(mailbox, hostname="127.0.0.1", port=port, **options)
        controller.start()
        running.append(controller)
        return mailbox, ExecutionSettings(
            live_from=None, smtp_host="127.0.0.1", smtp_port=port, smtp_sender="Shop <offers@shop.invalid>"
        )

    yield begin
    for controller in running:
        controller.stop()


def run(objects: ObjectStore, channel: SmtpChannel, customers: int = 3) -> Dispatch:
    frame = decisions([decision(n) for n in range(customers)], channel="smtp")
    return dispatch(frame, messages_for(frame), approval(), published(), DAY, DAY, DAY, desk(objects, channel=channel))


def by_customer(done: Dispatch) -> dict[str, tuple[str, str]]:
    rows = done.sends.select("customer_id", "status", "detail").iter_rows()
    return {customer: (status, detail) for customer, status, detail in rows}


def test_mail_arrives_as_written_and_once(objects: ObjectStore, start: Start) -> None:
    mailbox, place = start()
    channel = SmtpChannel.create(Connections(objects, place, ADDRESSES.get))
    first, second = run(objects, channel), run(objects, channel)
    assert first.sends.equals(second.sends)
    assert (first.sent_now, second.sent_now) == (3, 0)
    assert [mail["To"] for mail in mailbox.mails] == list(ADDRESSES.values())[:3]
    sends = dict(first.sends.select("customer_id", "send_id").iter_rows())
    mail = mailbox.mails[0]
    assert mail["Message-ID"] == f"<{sends['customer0000']}@shop.invalid>"
    assert mail["Subject"] == "给您的优惠 ☕"
    assert mail.get_content().replace("\r\n", "\n") == "您好！优惠 18:c1 等着您。\nSee you soon.\n"
    assert mail["List-Unsubscribe"].startswith("<mailto:offers@shop.invalid?subject=unsubscribe%20")
    assert mail.get_content_charset() == "utf-8"


def test_without_an_address_a_customer_is_refused_by_name(objects: ObjectStore, start: Start) -> None:
    mailbox, place = start()
    known = {"customer0000": "a@example.com", "customer0001": "a@example.com\r\nBcc: b@example.com"}
    rows = by_customer(run(objects, SmtpChannel(place, known.get)))
    assert rows["customer0000"][0] == "sent"
    assert rows["customer0001"] == ("refused", "the address in the contact vault is not an e-mail address")
    assert rows["customer0002"] == ("refused", "no address")
    assert len(mailbox.mails) == 1


def test_a_refusal_is_final_and_quotes_no_address(objects: ObjectStore, start: Start) -> None:
    mailbox, place = start()
    mailbox.rcpt = ["250 OK", "550 no such user person1@example.com", "250 OK"]
    rows = by_customer(run(objects, SmtpChannel(place, ADDRESSES.get)))
    assert rows["customer0001"] == ("refused", "recipient refused by the mail server (code 550)")
    stored = b"".join(objects.get(key) or b"" for key in objects.keys(""))
    assert b"example.com" not in stored
    assert len(mailbox.mails) == 2


def test_mail_put_off_is_tried_again_and_given_up_after_three(objects: ObjectStore, start: Start) -> None:
    mailbox, place = start()
    channel = SmtpChannel(place, ADDRESSES.get)
    mailbox.rcpt = ["451 later"]
    with pytest.raises(TransientError, match="1 of 3 messages were put off by channel smtp; 2 were sent"):
        run(objects, channel)
    assert run(objects, channel).sent_now == 1
    assert len(mailbox.mails) == 3

    for _ in range(3):
        mailbox.rcpt = ["451 later"]
        with pytest.raises(TransientError):
            run(objects, channel, customers=4)
    assert by_customer(run(objects, channel, customers=4))["customer0003"] == (
        "refused",
        "put off 3 times by the channel",
    )


def test_a_lost_answer_is_not_sent_again(objects: ObjectStore, start: Start) -> None:
    mailbox, place = start()
    mailbox.data = ["250 OK", "drop", "250 OK"]
    for _ in range(2):
        rows = by_customer(run(objects, SmtpChannel(place, ADDRESSES.get)))
        assert [status for status, _ in rows.values()].count("unconfirmed") == 1
        assert rows["customer0001"][0] == "unconfirmed"
    assert len(mailbox.mails) == 3


def test_server_that_is_down_leaves_no_claim(objects: ObjectStore) -> None:
    place = ExecutionSettings(live_from=None, smtp_host="127.0.0.1", smtp_port=free_port())
    with pytest.raises(TransientError, match="nothing was claimed"):
        run(objects, SmtpChannel(place, ADDRESSES.get))
    assert objects.keys("") == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    crt, pem = directory / "crt.pem", directory / "key.pem"
    crt.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return crt, pem


def test_starttls_is_used_where_offered_and_verified(
    objects: ObjectStore, start: Start, certificate: tuple[Path, Path]
) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*certificate)
    mailbox, place = start(tls_context=server, require_starttls=True)
    place = place.model_copy(update={"smtp_host": "localhost"})
    with pytest.raises(NotAllowed, match="certificate not trusted"):
        run(objects, SmtpChannel(place, ADDRESSES.get))
    trusted = ssl.create_default_context(cafile=str(certificate[0]))
    assert run(objects, SmtpChannel(place, ADDRESSES.get, tls=trusted)).sent_now == 3
    assert len(mailbox.mails) == 3


def test_a_password_never_goes_in_the_clear(objects: ObjectStore, start: Start) -> None:
    _, place = start()
    with pytest.raises(NotAllowed, match="not sent in the clear"):
        run(objects, SmtpChannel(place, ADDRESSES.get, login=("shop", "secret")))


def test_a_subject_can_not_smuggle_headers() -> None:
    message = Message("s1", "d1", "c1", "18", "18:c1", DAY, "", "en", "Hi\r\nBcc: x@example.com", "body")
    parsed = message_from_bytes(compose(message, "offers@shop.invalid", "a@example.com"), policy=policy.default)
    assert parsed["Bcc"] is None
    assert parsed["Subject"] == "Hi Bcc: x@example.com"


def test_statuses_are_those_of_the_contract(objects: ObjectStore, start: Start) -> None:
    _, place = start()
    done = run(objects, SmtpChannel(place, {"customer0000": "a@example.com"}.get))
    assert done.sends.filter(~pl.col("status").is_in(["sent", "already_sent", "unconfirmed", "refused"])).height == 0
