"""The transport that the Stripe library is given: our HTTP policy instead of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta

import httpx
import stripe

from v1consortium.services.http import new_client


class PolicyClient(stripe.HTTPClient):
    """Sends the library's asynchronous calls under :mod:`.http`'s policy.

    A failure keeps the transport's exception as its cause, which tells whether the request can
    have reached Stripe. Synchronous calls are refused.
    """

    name = "httpx"

    def __init__(self, *, timeout: timedelta, proxy: str | None = None) -> None:
        super().__init__()
        self._seconds = timeout.total_seconds()
        self._httpx = new_client(timeout=timeout, proxy=proxy)

    async def request_async(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: str | bytes | None = None,
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Send one request; raises ``stripe.APIConnectionError`` where no answer came."""
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self._httpx.request(
                    method, url, headers=headers, content=post_data or None
                )
            return answer.content, answer.status_code, answer.headers
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as error:
            raise stripe.APIConnectionError(  # type: ignore[no-untyped-call]
                "no answer from Stripe", should_retry=False
            ) from error

    async def sleep_async(self, secs: float) -> None:
        """Wait between the library's own retries, of which there are none."""
        await asyncio.sleep(secs)

    async def close_async(self) -> None:
        """Close the connections."""
        await self._httpx.aclose()
