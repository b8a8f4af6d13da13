"""Args and options as ``riverqueue`` takes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, runtime_checkable

import riverengine.insert.options as engine
from riverengine.types.job import JobState


class JobArgs(Protocol):
    """Arguments of one kind of job. Dataclasses and the engine's other args do without
    ``to_json()``.
    """

    @property
    def kind(self) -> str:
        """Selects the worker."""
        ...

    def to_json(self) -> str:
        """The arguments as the text of a JSON object."""
        ...


@runtime_checkable
class JobArgsWithInsertOpts(Protocol):
    """Args whose type has options of its own; those of the call win."""

    def insert_opts(self) -> InsertOpts:
        """The type's options."""
        ...


@dataclass
class UniqueOpts:
    """What makes a job unique; all unset means it is not.

    by_args: True, or the names of top-level members that count.  by_period: seconds, or a
    ``timedelta``.  by_state: must contain available, pending, running and scheduled, as River
    demands.  exclude_kind: compare across kinds.
    """

    by_args: bool | list[str] | None = None
    by_period: int | timedelta | None = None
    by_queue: bool | None = None
    by_state: list[JobState] | None = None
    exclude_kind: bool | None = None

    def of_engine(self) -> engine.UniqueOpts:
        """The same for the engine."""
        return engine.UniqueOpts(
            # The engine reads a text as a path of names; a sequence holds the names as they are.
            by_args=[(name,) for name in self.by_args]
            if isinstance(self.by_args, list)
            else bool(self.by_args),
            by_period=self.period,
            by_queue=bool(self.by_queue),
            by_state=None if not self.by_state else [JobState(state) for state in self.by_state],
            exclude_kind=bool(self.exclude_kind),
        )

    @property
    def period(self) -> timedelta | None:
        """``by_period`` as a duration; None when unset."""
        if not self.by_period:
            return None
        given = self.by_period
        return given if isinstance(given, timedelta) else timedelta(seconds=given)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked for."""
        return not (self.by_args or self.by_period or self.by_queue or self.by_state)


@dataclass
class InsertOpts:
    """Options of an insert; None leaves the choice to the args, then to River's defaults.

    scheduled_at: a time without a zone is local time.
    """

    max_attempts: int | None = None
    priority: int | None = None
    queue: str | None = None
    scheduled_at: datetime | None = None
    tags: list[Any] | None = None
    unique_opts: UniqueOpts | None = None

    def over(self, typed: InsertOpts) -> InsertOpts:
        """These options, completed by those of the args."""
        return InsertOpts(
            max_attempts=self.max_attempts or typed.max_attempts,
            priority=self.priority or typed.priority,
            queue=self.queue or typed.queue,
            scheduled_at=self.scheduled_at or typed.scheduled_at,
            tags=self.tags or typed.tags,
            unique_opts=self.unique_opts or typed.unique_opts,
        )

    def of_engine(self) -> engine.InsertOpts:
        """The same for the engine."""
        return engine.InsertOpts(
            max_attempts=self.max_attempts or None,
            priority=self.priority or None,
            queue=self.queue or None,
            scheduled_at=None if self.scheduled_at is None else self.scheduled_at.astimezone(UTC),
            tags=self.tags or (),
            unique_opts=None if self.unique_opts is None else self.unique_opts.of_engine(),
        )
