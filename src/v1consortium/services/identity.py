"""The port to the identity provider: the people who may sign in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A user at the identity provider."""

    id: UUID
    email: str = field(repr=False)
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)


class IdentityProvider(Protocol):
    """Creates, finds and removes users. Every method raises :class:`.errors.ProviderError`."""

    async def create_user(
        self,
        *,
        user_id: UUID,
        email: str,
        full_name: str | None = None,
        phone: str | None = None,
        metadata: Mapping[str, str],
    ) -> Identity:
        """Create the user under the caller's id, or return the one already made under that id.

        Safe to repeat with the same arguments. Raises PermanentError ``email_exists`` when the
        address belongs to a user with another id; that user is left alone.
        """

    async def get_user(self, user_id: UUID) -> Identity | None:
        """The user with that id, or None."""

    async def delete_user(self, user_id: UUID) -> None:
        """Remove the user (compensation); a user already gone is no error."""
