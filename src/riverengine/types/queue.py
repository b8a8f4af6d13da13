"""Rows of ``river_queue`` and ``river_leader``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from riverengine.types.job import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A row of ``river_queue``; ``paused_at`` is None while the queue is worked."""

    name: str
    created_at: datetime
    updated_at: datetime
    paused_at: datetime | None
    metadata_json: str

    @property
    def metadata(self) -> Mapping[str, Json]:
        """The stored metadata, decoded; empty when it is not a JSON object."""
        value = json.loads(self.metadata_json)
        return value if isinstance(value, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """The row of ``river_leader``: ``elected_at`` identifies the term, to the microsecond."""

    leader_id: str
    elected_at: datetime
    expires_at: datetime
