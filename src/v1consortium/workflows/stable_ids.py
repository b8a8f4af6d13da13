"""Ids that every attempt of a workflow's step computes alike."""

from __future__ import annotations

from typing import Final
from uuid import UUID, uuid5

_NAMESPACE: Final = UUID("6f0c9a52-6d0e-5e0b-9c6b-2a7c5b1d8e43")


def stable_id(purpose: str, workflow_id: str, *parts: str) -> UUID:
    """The id of ``purpose`` within the workflow: the same for every attempt and process."""
    # Length prefixes: no two different lists of parts make the same name.
    name = "".join(f"{len(part)}:{part}" for part in (purpose, workflow_id, *parts))
    return uuid5(_NAMESPACE, name)
