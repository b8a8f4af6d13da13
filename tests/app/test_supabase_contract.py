"""The simulated Supabase Auth, row by row against what was measured on the real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest

from riverengine import Json
from v1consortium.services.errors import PermanentError, TransientError
from v1consortium.services.supabase import SupabaseIdentity
from v1consortium.simulators.client import Simulators
from v1consortium.simulators.supabase import sign_key

EMAIL = "ann@example.com"


@pytest.fixture
async def http(simulators: Simulators) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {simulators.env['SUPABASE_SERVICE_ROLE_KEY']}"}
    url = f"{simulators.urls['supabase']}/auth/v1"
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as client:
        yield client


async def create(http: httpx.AsyncClient, **wish: Json) -> tuple[int, str | None]:
    answer = await http.post("/admin/users", json=wish)
    return answer.status_code, answer.json().get("error_code")


async def test_our_own_id_is_kept(http: httpx.AsyncClient) -> None:
    user_id = str(uuid4())
    answer = await http.post("/admin/users", json={"id": user_id, "email": EMAIL})
    body = answer.json()
    assert (answer.status_code, body["id"], body["aud"]) == (200, user_id, "authenticated")
    assert body["app_metadata"] == {"provider": "email", "providers": ["email"]}


@pytest.mark.parametrize("email", [EMAIL, EMAIL.upper(), f" {EMAIL} "])
@pytest.mark.parametrize("own_id", [True, False])
async def test_a_known_address_is_422(http: httpx.AsyncClient, email: str, own_id: bool) -> None:
    user_id = str(uuid4())
    assert await create(http, id=user_id, email=EMAIL) == (200, None)
    wish = {"id": user_id} if own_id else {}
    assert await create(http, email=email, **wish) == (422, "email_exists")


async def test_a_taken_id_is_500(http: httpx.AsyncClient) -> None:
    user_id = str(uuid4())
    await create(http, id=user_id, email=EMAIL)
    again = await create(http, id=user_id, email="bob@example.com")
    assert again == (500, "unexpected_failure")


async def test_creates_at_once_are_one_200_and_the_rest_500(
    http: httpx.AsyncClient, simulators: Simulators
) -> None:
    results = await asyncio.gather(*(create(http, email=EMAIL) for _ in range(5)))
    assert sorted(results, key=str) == [(200, None), *[(500, "unexpected_failure")] * 4]
    assert simulators.effects("supabase")["users_by_email"] == {EMAIL: 1}


@pytest.mark.parametrize(
    "wish", [{"email": "nobody"}, {"email": ""}, {}, {"id": "7", "email": EMAIL}, {"phone": ""}]
)
async def test_input_without_sense_is_400(http: httpx.AsyncClient, wish: dict[str, Json]) -> None:
    assert await create(http, **wish) == (400, "validation_failed")


@pytest.mark.parametrize(
    ("key", "status", "code"),
    [
        (sign_key("anon"), 403, "not_admin"),
        ("not.a.token", 403, "bad_jwt"),
        (sign_key("service_role", "another-secret"), 403, "bad_jwt"),
    ],
)
async def test_another_key_is_403(
    http: httpx.AsyncClient, simulators: Simulators, key: str, status: int, code: str
) -> None:
    headers = {"authorization": f"Bearer {key}"}
    answer = await http.get(f"/admin/users/{uuid4()}", headers=headers)
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)
    identity = SupabaseIdentity(simulators.urls["supabase"], key)
    try:
        with pytest.raises(PermanentError) as failure:
            await identity.get_user(uuid4())
    finally:
        await identity.aclose()
    assert (failure.value.code, failure.value.configuration) == (code, True)
    assert key not in str(failure.value) + repr(identity)


async def test_no_key_is_401(http: httpx.AsyncClient) -> None:
    answer = await http.get(f"/admin/users/{uuid4()}", headers={"authorization": ""})
    assert answer.status_code == 401


async def test_an_unknown_user_is_404(http: httpx.AsyncClient) -> None:
    answer = await http.get(f"/admin/users/{uuid4()}")
    assert (answer.status_code, answer.json()["error_code"]) == (404, "user_not_found")


async def test_users_are_listed_by_address_with_their_number(http: httpx.AsyncClient) -> None:
    await create(http, email=EMAIL)
    await create(http, email="bob@example.com")
    answer = await http.get("/admin/users", params={"filter": "ANN@"})
    assert [user["email"] for user in answer.json()["users"]] == [EMAIL]
    assert answer.headers["x-total-count"] == "1"


async def test_an_id_taken_by_another_address_is_permanent(
    http: httpx.AsyncClient, simulators: Simulators
) -> None:
    user_id = uuid4()
    await create(http, id=str(user_id), email="bob@example.com")
    async with Connected(simulators) as identity:
        with pytest.raises(PermanentError) as failure:
            await identity.create_user(user_id=user_id, email=EMAIL, metadata={})
    assert failure.value.code == "id_taken"


async def test_a_500_that_did_nothing_is_only_transient(simulators: Simulators) -> None:
    body = '{"code": 500, "error_code": "unexpected_failure", "msg": "Database error"}'
    simulators.arm("supabase", "status", status=500, body=body, match={"method": "POST"})
    async with Connected(simulators) as identity:
        with pytest.raises(TransientError) as failure:
            await identity.create_user(user_id=uuid4(), email=EMAIL, metadata={})
    assert type(failure.value) is TransientError


async def test_a_lost_answer_s_user_is_found_by_a_look(simulators: Simulators) -> None:
    user_id = uuid4()
    simulators.arm("supabase", "execute_then_drop", match={"method": "POST"})
    async with Connected(simulators) as identity:
        with pytest.raises(TransientError):
            await identity.create_user(user_id=user_id, email=EMAIL, metadata={"a": "b"})
        found = await identity.get_user(user_id)
        assert found is not None
        assert (found.email, found.metadata["a"]) == (EMAIL, "b")
        assert EMAIL not in repr(found)


class Connected:
    """The adapter with the simulators' own key, closed at the end."""

    def __init__(self, simulators: Simulators) -> None:
        key = simulators.env["SUPABASE_SERVICE_ROLE_KEY"]
        self._identity = SupabaseIdentity(simulators.urls["supabase"], key)

    async def __aenter__(self) -> SupabaseIdentity:
        return self._identity

    async def __aexit__(self, *exc: object) -> None:
        await self._identity.aclose()
