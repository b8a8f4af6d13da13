"""Adapters are made exactly for the providers whose settings are given."""

from __future__ import annotations

import pytest

from v1consortium.providers import build_providers, unconfigured
from v1consortium.settings import PROVIDER_VARIABLES, read_settings

PORTS = {
    "supabase": "identity",
    "stripe": "payments",
    "quest": "lab",
    "email": "email",
    "sms": "sms",
}


def environment(provider: str) -> dict[str, str]:
    special = {"SUPABASE_URL": "http://127.0.0.1:1", "QUEST_URL": "http://127.0.0.1:1"}
    special["EMAIL_FROM"] = "office@example.com"
    return {name: special.get(name, "secret-x") for name in PROVIDER_VARIABLES[provider]}


@pytest.mark.parametrize("provider", sorted(PORTS))
async def test_one_configured_provider_makes_its_adapter_only(provider: str) -> None:
    settings = read_settings(environment(provider))
    providers = build_providers(settings)
    made = {port for port in PORTS.values() if getattr(providers, port) is not None}
    assert made == {PORTS[provider]}
    assert set(unconfigured(settings)) == set(PORTS) - {provider}
    assert "secret-x" not in repr(providers)
    await providers.aclose()
