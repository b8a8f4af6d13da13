"""Text messages through Twilio's REST API."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from v1consortium.services.errors import PermanentError, ProviderError
from v1consortium.services.http import ProviderHTTP, Reply, bad_answer, problem_of_status
from v1consortium.services.notify import SentMessage

_PROVIDER = "twilio"
_MAX_PAGES = 10
_TO_CODES = frozenset({"21211", "21408", "21610", "21612", "21614"})


class TwilioSms:
    """Sends from ``sender`` (a number) or through ``messaging_service_sid``: exactly one of them.

    ``api_base`` replaces Twilio's address; ``timeout`` bounds one call.
    """

    def __init__(
        self,
        account_sid: str,
        auth_token: str,
        *,
        sender: str | None = None,
        messaging_service_sid: str | None = None,
        api_base: str = "https://api.twilio.com",
        timeout: timedelta = timedelta(seconds=15),
        proxy: str | None = None,
    ) -> None:
        if (sender is None) == (messaging_service_sid is None):
            raise ValueError("give either a sender or a messaging service")
        self._origin = (
            {"From": sender} if sender else {"MessagingServiceSid": messaging_service_sid or ""}
        )
        self._messages = f"/2010-04-01/Accounts/{account_sid}/Messages.json"
        self._http = ProviderHTTP(
            _PROVIDER,
            base_url=api_base,
            timeout=timeout,
            basic_auth=(account_sid, auth_token),
            proxy=proxy,
        )

    async def send(self, *, to: str, body: str, status_callback: str | None = None) -> str:
        """See :class:`.notify.SmsSender`; ``status_callback`` is told how the delivery goes."""
        form = {"To": to, "Body": body, **self._origin}
        if status_callback:
            form["StatusCallback"] = status_callback
        reply = await self._http.send("send_message", "POST", self._messages, write=True, form=form)
        if reply.status not in (200, 201):
            raise _problem("send_message", reply, write=True)
        sid = _object(reply, "send_message", write=True).get("sid")
        if not isinstance(sid, str) or not sid:
            raise bad_answer(_PROVIDER, "send_message", write=True)
        return sid

    async def find_message(self, *, to: str, body: str, since: datetime) -> SentMessage | None:
        """See :class:`.notify.SmsSender`.

        Reads the messages to that number, newest first, until they are older than ``since``:
        Twilio's own filter is by the day of sending, which a queued message does not have yet.
        """
        since = since.astimezone(UTC).replace(microsecond=0)
        path: str | None = self._messages
        params: dict[str, str] | None = {"To": to, "PageSize": "100"}
        for _ in range(_MAX_PAGES):
            if path is None:
                break
            reply = await self._http.send("find_message", "GET", path, write=False, params=params)
            if reply.status != 200:
                raise _problem("find_message", reply, write=False)
            page = _object(reply, "find_message", write=False)
            messages = page.get("messages")
            if not isinstance(messages, list):
                raise bad_answer(_PROVIDER, "find_message", write=False)
            for message in messages:
                created = _created(message)
                if created is None or created < since:
                    return None
                if message.get("body") == body:
                    return SentMessage(id=str(message["sid"]), status=str(message["status"]))
            path, params = _next_path(page.get("next_page_uri")), None
        return None

    async def aclose(self) -> None:
        """Close the connections; the next call makes new ones."""
        await self._http.aclose()


def _created(message: object) -> datetime | None:
    if not isinstance(message, dict):
        return None
    try:
        return parsedate_to_datetime(str(message.get("date_created")))
    except ValueError:
        return None


def _next_path(uri: object) -> str | None:
    """The next page on the same host: whatever host an answer names, we do not go there."""
    if not isinstance(uri, str) or not uri:
        return None
    parts = urlsplit(uri)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _object(reply: Reply, operation: str, *, write: bool) -> dict[str, object]:
    try:
        answer = json.loads(reply.body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise bad_answer(_PROVIDER, operation, write=write)
    return answer


def _problem(operation: str, reply: Reply, *, write: bool) -> ProviderError:
    code = None
    try:
        answer = json.loads(reply.body)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and isinstance(answer.get("code"), int):
        code = str(answer["code"])
    problem = problem_of_status(
        _PROVIDER, operation, reply.status, reply.headers, write=write, code=code
    )
    if isinstance(problem, PermanentError) and code in _TO_CODES:
        problem.field = "to"
        problem.configuration = False
    return problem
