"""E-mail through an SMTP server.

The stages of a delivery decide what a broken connection means: before the message's end was sent
the server has nothing, after it the mail may be on its way.
"""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import parseaddr
from typing import TYPE_CHECKING

from v1consortium.services.errors import (
    AmbiguousError,
    PermanentError,
    ProviderError,
    TransientError,
)

if TYPE_CHECKING:
    from aiosmtplib import SMTP

_PROVIDER = "smtp"
_OPERATION = "send_email"
_ADDRESS = re.compile(r"[!-;=?A-~]{1,64}@[A-Za-z0-9.-]{1,255}")
_MESSAGE_ID = re.compile(r"[A-Za-z0-9._+=-]{1,200}")


class SmtpEmail:
    """Sends as ``sender`` (an address, with or without a name) through ``host:port``.

    ``start_tls`` None means: if the server offers it. ``use_tls`` speaks TLS from the start.
    ``domain`` ends the Message-IDs; by default the sender's. ``timeout`` bounds one delivery.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        sender: str,
        username: str | None = None,
        password: str | None = None,
        start_tls: bool | None = None,
        use_tls: bool = False,
        reply_to: str | None = None,
        domain: str | None = None,
        timeout: timedelta = timedelta(seconds=20),
    ) -> None:
        address = parseaddr(sender)[1]
        if not _ADDRESS.fullmatch(address):
            raise ValueError("sender holds no e-mail address")
        self._host = host
        self._port = port
        self._sender = sender
        self._envelope_sender = address
        self._username = username
        self._password = password
        self._start_tls = start_tls
        self._use_tls = use_tls
        self._reply_to = reply_to
        self._domain = domain or address.rpartition("@")[2]
        self._timeout = timeout

    async def send(
        self, *, to: str, subject: str, text: str, html: str | None = None, message_id: str
    ) -> str:
        """See :class:`.notify.EmailSender`."""
        header = f"<{message_id}@{self._domain}>"
        message = self._message(to, subject, text, html, message_id, header)
        stage = "connect"
        problem: ProviderError
        import aiosmtplib

        client = aiosmtplib.SMTP(
            hostname=self._host,
            port=self._port,
            username=self._username,
            password=self._password,
            use_tls=self._use_tls,
            start_tls=False if self._use_tls else self._start_tls,
            timeout=self._timeout.total_seconds(),
            local_hostname="localhost",
        )
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                await client.connect(timeout=min(5.0, self._timeout.total_seconds()))
                stage = "envelope"
                await client.mail(self._envelope_sender)
                await client.rcpt(to)
                stage = "data"
                await client.data(message.as_bytes(policy=SMTP_POLICY))
            return header
        except (aiosmtplib.SMTPException, TimeoutError, OSError) as error:
            problem = _problem(error, stage)
        finally:
            await _goodbye(client)
        # Raised out here so that the error does not carry the server's words as its context.
        raise problem

    def _message(
        self, to: str, subject: str, text: str, html: str | None, message_id: str, header: str
    ) -> EmailMessage:
        if not _ADDRESS.fullmatch(to):
            raise PermanentError(_PROVIDER, _OPERATION, "invalid_address", field="to")
        if not _MESSAGE_ID.fullmatch(message_id):
            raise PermanentError(_PROVIDER, _OPERATION, "invalid_message_id", field="message_id")
        if "\r" in subject or "\n" in subject:
            raise PermanentError(_PROVIDER, _OPERATION, "invalid_subject", field="subject")
        message = EmailMessage()
        message["Message-ID"] = header
        message["From"] = self._sender
        message["To"] = to
        message["Subject"] = subject
        if self._reply_to:
            message["Reply-To"] = self._reply_to
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        if html is not None:
            message.add_alternative(html, subtype="html")
        return message


async def _goodbye(client: SMTP) -> None:
    """End the session. What became of the mail is settled by now, so a failure means nothing."""
    import aiosmtplib

    try:
        if client.is_connected:
            async with asyncio.timeout(1):
                await client.quit()
    except (aiosmtplib.SMTPException, TimeoutError, OSError):
        pass
    finally:
        client.close()


def _problem(error: Exception, stage: str) -> ProviderError:
    import aiosmtplib

    if isinstance(error, aiosmtplib.SMTPRecipientsRefused) and error.recipients:
        error = error.recipients[0]
    code = getattr(error, "code", None)
    if isinstance(error, aiosmtplib.SMTPResponseException) and isinstance(code, int) and code > 0:
        if 400 <= code < 500:
            return TransientError(_PROVIDER, _OPERATION, str(code))
        setting = isinstance(error, aiosmtplib.SMTPAuthenticationError) or code in (530, 534, 535)
        field = "to" if isinstance(error, aiosmtplib.SMTPRecipientRefused) else None
        return PermanentError(_PROVIDER, _OPERATION, str(code), configuration=setting, field=field)
    # The library has no class of its own for a server without STARTTLS or without log-in.
    lacks = stage == "connect" and type(error) is aiosmtplib.SMTPException
    if lacks or isinstance(error, aiosmtplib.SMTPNotSupported):
        return PermanentError(_PROVIDER, _OPERATION, "not_supported", configuration=True)
    name = "timeout" if isinstance(error, TimeoutError) else "connection_lost"
    if stage == "connect":
        return TransientError(_PROVIDER, _OPERATION, "connect" if name != "timeout" else name)
    if stage == "data":
        return AmbiguousError(_PROVIDER, _OPERATION, name)
    return TransientError(_PROVIDER, _OPERATION, name)
