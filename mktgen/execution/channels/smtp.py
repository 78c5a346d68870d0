"""E-mail over SMTP. Not idempotent: a mail server doesn't tell whether it has seen a Message-ID before."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import parseaddr
from typing import ClassVar, Final, Self
from urllib.parse import quote

from mktgen.errors import NotAllowed, TransientError
from mktgen.execution.channels.base import AddressLookup, Channel, Connections, Message, Receipt
from mktgen.settings import ExecutionSettings

_TIMEOUT_SECONDS: Final = 30.0


class SmtpChannel(Channel):
    """One connection for a dispatch, STARTTLS where the server offers it, certificates verified.

    No address ever goes into a receipt, an error or a log line: a server's answer may quote one, so only its code
    is passed on.
    """

    name: ClassVar[str] = "smtp"
    idempotent: ClassVar[bool] = False
    needs_address: ClassVar[bool] = True
    purposes: ClassVar[tuple[str, ...]] = ("marketing_email", "profiling")

    def __init__(
        self,
        settings: ExecutionSettings,
        address_of: AddressLookup,
        login: tuple[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> None:
        self._settings = settings
        self._address_of = address_of
        self._login = login
        self._tls = tls
        self._timeout = timeout_seconds
        self._server: smtplib.SMTP | None = None

    @classmethod
    def create(cls, connections: Connections) -> Self:
        return cls(connections.settings, connections.address_of, connections.smtp_login)

    def open(self) -> None:
        """Connect unless connected. Raises TransientError (unreachable) or NotAllowed (certificate, login)."""
        if self._server is not None:
            return
        where = f"{self._settings.smtp_host}:{self._settings.smtp_port}"
        try:
            self._server = self._connect(where)
        except ssl.SSLCertVerificationError as error:
            raise NotAllowed(f"mail server {where}: certificate not trusted ({error.verify_message})") from None
        except smtplib.SMTPAuthenticationError as error:
            raise NotAllowed(f"mail server {where} refuses the login (code {error.smtp_code})") from None
        except (OSError, smtplib.SMTPException) as error:
            raise TransientError(
                f"mail server {where} can't be reached ({type(error).__name__}); nothing was claimed for sending. "
                "Check execution.smtp_host and smtp_port, then run dispatch again."
            ) from error

    def _connect(self, where: str) -> smtplib.SMTP:
        server = smtplib.SMTP(self._settings.smtp_host, self._settings.smtp_port, timeout=self._timeout)
        try:
            server.ehlo_or_helo_if_needed()
            encrypted = server.has_extn("starttls")
            if encrypted:
                server.starttls(context=self._tls or ssl.create_default_context())
                server.ehlo()
            if self._login is not None:
                if not encrypted:
                    raise NotAllowed(f"mail server {where} offers no STARTTLS: the password is not sent in the clear")
                server.login(*self._login)
        except BaseException:
            server.close()
            raise
        return server

    def send(self, message: Message) -> Receipt:
        address = self._address_of(message.customer_id)
        if not address:
            return Receipt("refused", "no address")
        if "\r" in address or "\n" in address or "@" not in parseaddr(address)[1]:
            return Receipt("refused", "the address in the contact vault is not an e-mail address")
        raw = compose(message, self._settings.smtp_sender, address)
        server = self._server
        if server is None:
            return Receipt("deferred", "not connected")
        try:
            refusal = _envelope(server, parseaddr(self._settings.smtp_sender)[1], parseaddr(address)[1])
        except (OSError, smtplib.SMTPException) as error:
            self._drop()
            return Receipt("deferred", f"connection lost before the message was handed over ({type(error).__name__})")
        if refusal is not None:
            return refusal
        return self._hand_over(server, raw)

    def _hand_over(self, server: smtplib.SMTP, raw: bytes) -> Receipt:
        try:
            code, _ = server.data(raw)
        except smtplib.SMTPDataError as error:  # the server didn't let us begin: certainly not sent
            self._reset(server)
            return _rejection(int(error.smtp_code), "DATA")
        except (OSError, smtplib.SMTPException) as error:
            self._drop()
            return Receipt("unknown", f"connection lost while the message was handed over ({type(error).__name__})")
        if code == 250:
            return Receipt("sent", "250")
        self._reset(server)
        return _rejection(code, "message")

    def _reset(self, server: smtplib.SMTP) -> None:
        try:
            server.rset()
        except (OSError, smtplib.SMTPException):
            self._drop()  # the next open() connects afresh

    def _drop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def close(self) -> None:
        if self._server is not None:
            try:
                self._server.quit()
            except (OSError, smtplib.SMTPException):
                self._server.close()  # the server left first; every message has its receipt already
            self._server = None


def _envelope(server: smtplib.SMTP, sender: str, recipient: str) -> Receipt | None:
    """MAIL FROM and RCPT TO. None: both accepted. Nothing has been handed over yet, whatever happens here."""
    code, _ = server.mail(sender)
    stage = "sender"
    if code == 250:
        code, _ = server.rcpt(recipient)
        stage = "recipient"
    if code in (250, 251):
        return None
    server.rset()
    return _rejection(code, stage)


def _rejection(code: int, stage: str) -> Receipt:
    """4xx: may be tried again. 5xx: never."""
    if 400 <= code < 500:
        return Receipt("deferred", f"{stage} deferred by the mail server (code {code})")
    return Receipt("refused", f"{stage} refused by the mail server (code {code})")


def compose(message: Message, sender: str, recipient: str) -> bytes:
    """The e-mail as bytes with CRLF. Its Message-ID follows from the `send_id`: a duplicate is recognisable."""
    sender_address = parseaddr(sender)[1]
    mail = EmailMessage(policy=SMTP_POLICY)
    mail["From"] = sender
    mail["To"] = recipient
    mail["Subject"] = " ".join(message.subject.split())  # a header is one line
    mail["Message-ID"] = f"<{message.send_id}@{sender_address.rpartition('@')[2]}>"
    mail["Content-Language"] = message.language
    mail["List-Unsubscribe"] = f"<mailto:{sender_address}?subject={quote(f'unsubscribe {message.send_id}')}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.body, charset="utf-8")
    return mail.as_bytes()
