"""One policy for every HTTP call to a provider.

Connect within 5 s, a limit on the whole call, a cap on the answer's size, no redirects followed, no
connection kept open: a kept connection that the server closes just as a write goes out would
make a safe call an ambiguous one. Failures become :mod:`.errors`; nothing of a body, a header or
a query string gets into an exception or a log line.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

from v1consortium.services.errors import (
    AmbiguousError,
    PermanentError,
    ProviderError,
    TransientError,
)

CONNECT_TIMEOUT = timedelta(seconds=5)
MAX_ANSWER_BYTES = 5 * 1024 * 1024
MAX_RETRY_AFTER = timedelta(hours=24)

_QUERY = re.compile(r"\?.*")
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class AnswerTooLargeError(httpx.TransportError):
    """The answer's body went over the cap."""


class _StripQuery(logging.Filter):
    """Removes query strings (telephone numbers, e-mail addresses) from httpx's request lines."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                _QUERY.sub("", str(part)) if isinstance(part, httpx.URL) else part
                for part in record.args
            )
        return True


_STRIP_QUERY = _StripQuery()


class _CappedStream(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream, limit: int) -> None:
        self._inner = inner
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        seen = 0
        async for chunk in self._inner:
            seen += len(chunk)
            if seen > self._limit:
                raise AnswerTooLargeError("answer over the size cap")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


class _CappedTransport(httpx.AsyncBaseTransport):
    """Counts the bytes of an answer as they come, and bounds the whole call in time."""

    def __init__(self, inner: httpx.AsyncBaseTransport, limit: int) -> None:
        self._inner = inner
        self._limit = limit

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        # Compressed answers could grow past the cap after it was counted.
        request.headers["accept-encoding"] = "identity"
        response = await self._inner.handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _CappedStream(response.stream, self._limit)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


def new_client(
    *,
    timeout: timedelta,
    max_bytes: int = MAX_ANSWER_BYTES,
    proxy: str | None = None,
) -> httpx.AsyncClient:
    """An httpx client under this policy; ``timeout`` bounds each read and write.

    The caller bounds the whole call (:func:`asyncio.timeout`) and closes the client.
    """
    logger = logging.getLogger("httpx")
    if _STRIP_QUERY not in logger.filters:
        logger.addFilter(_STRIP_QUERY)
    inner = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_keepalive_connections=0), proxy=proxy)
    seconds = timeout.total_seconds()
    return httpx.AsyncClient(
        transport=_CappedTransport(inner, max_bytes),
        timeout=httpx.Timeout(seconds, connect=min(CONNECT_TIMEOUT.total_seconds(), seconds)),
        follow_redirects=False,
        trust_env=False,
    )


def retry_after(headers: Mapping[str, str], *, now: datetime | None = None) -> timedelta | None:
    """The wait asked for by a Retry-After header (seconds or HTTP date), at most a day."""
    value = headers.get("retry-after") or headers.get("Retry-After")
    if not value:
        return None
    try:
        wait = timedelta(seconds=float(value))
    except (ValueError, OverflowError):
        try:
            until = parsedate_to_datetime(value)
        except ValueError:
            return None
        if until.tzinfo is None:
            until = until.replace(tzinfo=UTC)
        wait = until - (now or datetime.now(UTC))
    return min(max(wait, timedelta()), MAX_RETRY_AFTER)


def problem_of_exception(
    provider: str, operation: str, error: BaseException, *, write: bool
) -> ProviderError:
    """The error class for a call that got no answer.

    Nothing can have been done where no connection was made; anything later may have been carried
    out, which matters for a write only.
    """
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return TransientError(provider, operation, "connect_timeout")
    if isinstance(error, _NOT_SENT):
        return TransientError(provider, operation, "connect")
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        code = "timeout"
    elif isinstance(error, AnswerTooLargeError):
        code = "answer_too_large"
    else:
        code = "connection_lost"
    kind = AmbiguousError if write else TransientError
    return kind(provider, operation, code)


def problem_of_status(
    provider: str,
    operation: str,
    status: int,
    headers: Mapping[str, str],
    *,
    write: bool,
    code: str | None = None,
) -> ProviderError:
    """The error class for an answer that is no success; ``code`` is the provider's, if known."""
    wait = retry_after(headers)
    code = code or f"http_{status}"
    if status == 429:
        return TransientError(provider, operation, code, wait)
    if status in (401, 403):
        return PermanentError(provider, operation, code, configuration=True)
    if status >= 500 or status in (408, 425):
        kind = AmbiguousError if write else TransientError
        return kind(provider, operation, code, wait)
    if status < 400:
        # A redirect, or a success we do not know: the base URL is wrong.
        return PermanentError(provider, operation, code, configuration=True)
    return PermanentError(provider, operation, code)


def bad_answer(provider: str, operation: str, *, write: bool) -> ProviderError:
    """The error for a success that could not be read: a write may well have been carried out."""
    kind = AmbiguousError if write else TransientError
    return kind(provider, operation, "bad_answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer of any status, read whole."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class ProviderHTTP:
    """Calls one provider; the client is made at the first call and lives until :meth:`aclose`."""

    def __init__(
        self,
        provider: str,
        *,
        base_url: str,
        timeout: timedelta,
        max_bytes: int = MAX_ANSWER_BYTES,
        basic_auth: tuple[str, str] | None = None,
        proxy: str | None = None,
    ) -> None:
        self._provider = provider
        self._base_url = base_url.rstrip("/")
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._auth = httpx.BasicAuth(*basic_auth) if basic_auth else None
        self._proxy = proxy
        self._client: httpx.AsyncClient | None = None

    async def send(
        self,
        operation: str,
        method: str,
        path: str,
        *,
        write: bool,
        content: bytes | None = None,
        form: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: timedelta | None = None,
    ) -> Reply:
        """Send one request and read the answer, whatever its status.

        Raises TransientError or, where a ``write`` may have been carried out, AmbiguousError.
        """
        limit = timeout or self._timeout
        if self._client is None:
            self._client = new_client(
                timeout=self._timeout, max_bytes=self._max_bytes, proxy=self._proxy
            )
        seconds = limit.total_seconds()
        try:
            async with asyncio.timeout(seconds):
                answer = await self._client.request(
                    method,
                    self._base_url + path,
                    content=content,
                    data=dict(form) if form is not None else None,
                    params=params,
                    headers=headers,
                    auth=self._auth,
                    timeout=httpx.Timeout(
                        seconds, connect=min(CONNECT_TIMEOUT.total_seconds(), seconds)
                    ),
                )
            return Reply(status=answer.status_code, headers=answer.headers, body=answer.content)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as error:
            problem = problem_of_exception(self._provider, operation, error, write=write)
        # Raised out here so that the error does not carry the request as its context.
        raise problem

    async def aclose(self) -> None:
        """Close the client; the next call makes a new one."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()
