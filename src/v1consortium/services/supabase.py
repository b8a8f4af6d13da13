"""Users at Supabase Auth, through its admin API.

The rules for repeating a create come from the behaviour of the real server: it keeps the id we
send, and it reports a lost race and a taken id as 500 ``unexpected_failure``, a known address as
422 ``email_exists``. Both are settled by looking at the user with our own id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from v1consortium.services.errors import PermanentError, ProviderError, TransientError
from v1consortium.services.http import (
    bad_answer,
    new_client,
    problem_of_exception,
    problem_of_status,
)
from v1consortium.services.identity import Identity

if TYPE_CHECKING:
    from supabase_auth import AsyncGoTrueClient
    from supabase_auth.types import AdminUserAttributes, User

_PROVIDER = "supabase"
_T = TypeVar("_T")


class SupabaseIdentity:
    """The identity provider at ``url`` (the project's URL, without ``/auth/v1``).

    ``service_key`` is the project's service-role key. With ``confirm_email`` users need not
    confirm their address. ``timeout`` bounds one call.
    """

    def __init__(
        self,
        url: str,
        service_key: str,
        timeout: timedelta = timedelta(seconds=15),
        *,
        confirm_email: bool = True,
        proxy: str | None = None,
    ) -> None:
        self._url = url.rstrip("/") + "/auth/v1"
        self._service_key = service_key
        self._timeout = timeout
        self._confirm_email = confirm_email
        self._proxy = proxy
        self._client: AsyncGoTrueClient | None = None

    async def create_user(
        self,
        *,
        user_id: UUID,
        email: str,
        full_name: str | None = None,
        phone: str | None = None,
        metadata: Mapping[str, str],
    ) -> Identity:
        """See :class:`.identity.IdentityProvider`; ``metadata`` is kept where only we can write.

        The telephone number is kept as user metadata: as a log-in number it would have to be
        unique.
        """
        attributes: AdminUserAttributes = {
            "id": str(user_id),
            "email": email,
            "email_confirm": self._confirm_email,
            "app_metadata": dict(metadata),
            "user_metadata": {
                key: value for key, value in (("full_name", full_name), ("phone", phone)) if value
            },
        }

        async def create(client: AsyncGoTrueClient) -> Identity:
            return _identity((await client.admin.create_user(attributes)).user)

        try:
            made = await self._call("create_user", create, write=True)
        except ProviderError as error:
            problem = error
        else:
            if made.id != user_id:
                raise bad_answer(_PROVIDER, "create_user", write=True)
            return made
        if problem.code not in ("email_exists", "unexpected_failure"):
            raise problem
        found = await self.get_user(user_id)
        if found is None:
            raise problem
        if found.email.casefold() != email.strip().casefold():
            raise PermanentError(_PROVIDER, "create_user", "id_taken", field="user_id")
        return found

    async def get_user(self, user_id: UUID) -> Identity | None:
        """See :class:`.identity.IdentityProvider`."""

        async def get(client: AsyncGoTrueClient) -> Identity:
            return _identity((await client.admin.get_user_by_id(str(user_id))).user)

        try:
            return await self._call("get_user", get, write=False)
        except PermanentError as error:
            if error.code != "user_not_found":
                raise
            return None

    async def delete_user(self, user_id: UUID) -> None:
        """See :class:`.identity.IdentityProvider`."""

        async def delete(client: AsyncGoTrueClient) -> None:
            await client.admin.delete_user(str(user_id))

        try:
            await self._call("delete_user", delete, write=True)
        except PermanentError as error:
            if error.code != "user_not_found":
                raise

    async def aclose(self) -> None:
        """Close the HTTP client; the next call makes a new one."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _connected(self) -> AsyncGoTrueClient:
        if self._client is None:
            from supabase_auth import AsyncGoTrueClient

            self._client = AsyncGoTrueClient(
                url=self._url,
                headers={
                    "Authorization": f"Bearer {self._service_key}",
                    "apikey": self._service_key,
                },
                auto_refresh_token=False,
                persist_session=False,
                http_client=new_client(timeout=self._timeout, proxy=self._proxy),
            )
        return self._client

    async def _call(
        self,
        operation: str,
        call: Callable[[AsyncGoTrueClient], Awaitable[_T]],
        *,
        write: bool,
    ) -> _T:
        client = self._connected()
        from supabase_auth.errors import AuthError

        problem: ProviderError
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                return await call(client)
        except TimeoutError as error:
            problem = problem_of_exception(_PROVIDER, operation, error, write=write)
        except AuthError as error:
            problem = _problem(operation, error, write=write)
        except ValueError:
            # The library could not read the answer; its message quotes the answer.
            problem = bad_answer(_PROVIDER, operation, write=write)
        # Raised out here so that the error does not carry the answer as its context.
        raise problem


def _identity(user: User) -> Identity:
    return Identity(
        id=UUID(user.id),
        email=user.email or "",
        metadata={key: value for key, value in user.app_metadata.items() if isinstance(value, str)},
    )


def _problem(operation: str, error: Exception, *, write: bool) -> ProviderError:
    import httpx

    cause = error.__cause__
    if not isinstance(cause, httpx.HTTPStatusError):
        return problem_of_exception(_PROVIDER, operation, cause or error, write=write)
    response = cause.response
    code = getattr(error, "code", None)
    code = code if isinstance(code, str) else None
    if response.status_code == 500 and code == "unexpected_failure":
        # The server's word for a violated constraint: it did nothing.
        return TransientError(_PROVIDER, operation, code)
    return problem_of_status(
        _PROVIDER, operation, response.status_code, response.headers, write=write, code=code
    )
