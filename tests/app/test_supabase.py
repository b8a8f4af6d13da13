"""The Supabase adapter against the simulated server."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from v1consortium.providers import Providers
from v1consortium.services.errors import (
    AmbiguousError,
    PermanentError,
    ProviderError,
    TransientError,
)
from v1consortium.services.identity import Identity
from v1consortium.services.supabase import SupabaseIdentity
from v1consortium.simulators.client import Simulators

EMAIL = "ann@example.com"


async def create(providers: Providers, user_id: UUID, email: str = EMAIL) -> Identity:
    assert providers.identity is not None
    return await providers.identity.create_user(
        user_id=user_id,
        email=email,
        full_name="Ann Example",
        phone="+13125550123",
        metadata={"workflow_id": "w1"},
    )


async def test_a_user_is_created_under_our_id(providers: Providers, simulators: Simulators) -> None:
    user_id = uuid4()
    made = await create(providers, user_id)
    assert (made.id, made.email) == (user_id, EMAIL)
    assert made.metadata["workflow_id"] == "w1"
    (user,) = simulators.records("supabase", "users")
    assert user["user_metadata"] == {"full_name": "Ann Example", "phone": "+13125550123"}
    assert user["email_confirmed_at"]


async def test_a_repeated_create_finds_its_own_user(
    providers: Providers, simulators: Simulators
) -> None:
    user_id = uuid4()
    assert await create(providers, user_id) == await create(providers, user_id)
    assert simulators.count("supabase", "users_by_id") == 1


async def test_creates_at_once_make_one_user(providers: Providers, simulators: Simulators) -> None:
    user_id = uuid4()
    results = await asyncio.gather(*(create(providers, user_id) for _ in range(4)))
    assert {result.id for result in results} == {user_id}
    assert simulators.count("supabase", "users_by_id") == 1


async def test_a_taken_address_is_permanent(providers: Providers) -> None:
    await create(providers, uuid4())
    with pytest.raises(PermanentError) as failure:
        await create(providers, uuid4())
    assert failure.value.code == "email_exists"
    assert EMAIL not in str(failure.value)


async def test_a_bad_address_is_permanent(providers: Providers) -> None:
    with pytest.raises(PermanentError) as failure:
        await create(providers, uuid4(), "nobody")
    assert failure.value.code == "validation_failed"


@pytest.mark.parametrize(
    ("fault", "options", "kind"),
    [
        ("status", {"status": 503}, ProviderError),
        ("status", {"status": 429, "headers": {"retry-after": "7"}}, TransientError),
        ("drop", {}, AmbiguousError),
        ("reset", {}, AmbiguousError),
        ("execute_then_drop", {}, AmbiguousError),
        ("execute_then_garbage", {}, AmbiguousError),
        ("execute_then_huge", {}, AmbiguousError),
        ("execute_then_status", {"status": 502}, AmbiguousError),
    ],
)
async def test_after_any_failure_a_repeat_ends_with_one_user(
    providers: Providers,
    simulators: Simulators,
    fault: str,
    options: dict[str, object],
    kind: type[ProviderError],
) -> None:
    user_id = uuid4()
    simulators.arm("supabase", fault, match={"method": "POST"}, **options)
    with pytest.raises(kind) as failure:
        await create(providers, user_id)
    assert not isinstance(failure.value, PermanentError)
    assert simulators.armed("supabase") == []
    assert (await create(providers, user_id)).id == user_id
    assert simulators.count("supabase", "users_by_id") == 1


async def test_retry_after_is_heard(providers: Providers, simulators: Simulators) -> None:
    simulators.arm("supabase", "status", status=429, headers={"retry-after": "7"})
    with pytest.raises(TransientError) as failure:
        await create(providers, uuid4())
    assert failure.value.retry_after == timedelta(seconds=7)


async def test_a_wrong_key_is_our_fault(simulators: Simulators) -> None:
    identity = SupabaseIdentity(simulators.urls["supabase"], "wrong.key.here")
    try:
        with pytest.raises(PermanentError) as failure:
            await identity.get_user(uuid4())
        assert failure.value.configuration
        assert "wrong.key.here" not in repr(failure.value) + str(failure.value)
    finally:
        await identity.aclose()


async def test_users_are_found_and_deleted(providers: Providers, simulators: Simulators) -> None:
    assert providers.identity is not None
    user_id = uuid4()
    assert await providers.identity.get_user(user_id) is None
    await create(providers, user_id)
    found = await providers.identity.get_user(user_id)
    assert found is not None
    await providers.identity.delete_user(user_id)
    await providers.identity.delete_user(user_id)
    assert await providers.identity.get_user(user_id) is None
