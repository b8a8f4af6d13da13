"""A provider that is needed but has no settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from v1consortium.services.errors import PermanentError

T = TypeVar("T")


class NotConfiguredError(PermanentError):
    """The settings of a provider are missing; ``variables`` names them."""

    def __init__(self, provider: str, variables: Sequence[str]) -> None:
        super().__init__(provider, "configuration", "not_configured", configuration=True)
        self.variables = tuple(variables)

    def __str__(self) -> str:
        return f"{self.provider} is not configured: set {', '.join(self.variables)}"


def required(provider: str, adapter: T | None, variables: Sequence[str]) -> T:
    """The adapter; raises ``NotConfiguredError`` when there is none."""
    if adapter is None:
        raise NotConfiguredError(provider, variables)
    return adapter
