"""A client's settings: defaults, units and limits are River's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta

from riverengine.types.errors import ConfigError
from riverengine.types.schedule import PeriodicSchedule
from riverengine.work.error_handler import ErrorHandler
from riverengine.work.extensions import Extensions, Plugin
from riverengine.work.hooks import Hook
from riverengine.work.middleware import Middleware
from riverengine.work.retry import DefaultRetryPolicy, RetryPolicy
from riverengine.work.stuck_handler import JobStuckHandler

FOREVER = timedelta(microseconds=-1)
"""For retention periods: keep the rows. For timeouts: never."""

_TYPES: Mapping[str, type] = {"bool": bool, "int": int, "str": str, "timedelta": timedelta}
"""The types that settings are checked for, by their annotations, which are texts here."""

_METHODS = {
    "error_handler": ("handle_error", "; ErrorHandlerFunc(function) has it"),
    "reindexer_schedule": ("next", "; parse_cron(text) has it"),
    "retry_policy": ("next_retry", ""),
}

_SCHEMA = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueConfig:
    """How one queue is worked by this client.

    max_workers: jobs at a time, 1 to 10,000.  fetch_cooldown, fetch_poll_interval: None for the
    client's.
    """

    max_workers: int
    fetch_cooldown: timedelta | None = None
    fetch_poll_interval: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings of a client. Source of defaults and limits: river client.go at v0.51.1.

    A setting of the wrong type, or out of its range, raises ``ConfigError``, which names it.
    ``FOREVER`` stands for no limit of a timeout or a retention period.

    What it works
        queues: by name; empty for an insert-only client, which works nothing and never leads.
        schema: where River's tables are; None for the search path's first.  max_attempts: of jobs
        whose args type and insert say nothing.  fetch_only_known_kinds: leave jobs of kinds without
        a worker here to other clients, instead of failing them.  skip_unknown_job_check: let this
        client insert kinds it has no worker for.  max_args_bytes: an insert of longer args is
        refused.
    How quickly
        fetch_cooldown: the pause behind a fetch that was announced and found nothing, shorter
        while jobs keep coming; inserts into a queue are announced once in it.
        fetch_poll_interval: between looks for jobs that nothing announced; not shorter than the
        cooldown.  poll_only: do not listen; pauses and cancellations take effect within 2 s then.
    How long a job may run
        job_timeout: from then on it is cancelled; ``Worker.timeout`` comes first.
        job_stuck_threshold: a job that still runs so long behind its timeout is stuck.
        job_stuck_handler: is told of it.  rescue_stuck_jobs_after: the leader takes a job back that
        was running for so long; None for an hour, counted from the end of a job_timeout that is
        set.
        rescuer_discards_unknown_kinds: discard stuck jobs of kinds that the leader does not know,
        as Go River does, instead of retrying them.
    Who it is, and what dies with it
        id: None for River's, of host and time. A name that stays over restarts lets a restarted
        client take back at once the jobs its dead process left running; two living clients cannot
        share it.  max_process_deaths: a job that was running in so many processes when they died is
        set aside as the suspect, by discarding it; 0 for never.
    How it stops
        soft_stop_timeout: how long a stop lets jobs end by themselves before it cancels them; None
        for ever.  hard_stop_timeout: how long it then waits for jobs that ignore this, before it
        abandons them: their code runs on, but no outcome of it counts, and the jobs are available
        to other clients; None, as in Go, for ever.
    What it does when it leads
        leader_election_disabled: never lead.  cancelled_job_retention_period,
        completed_job_retention_period, discarded_job_retention_period: jobs that ended longer ago
        are deleted.  job_cleaner_timeout: of one deletion.  reindexer_schedule: when River's
        indexes are rebuilt; None for every midnight UTC, ``NeverSchedule()`` for never.
        reindexer_index_names: which; None for River's seven.  reindexer_timeout: of one index.
    Your code
        error_handler: hears of failed attempts.  retry_policy: when a failed job runs again;
        ``Worker.next_retry`` comes first.  hooks, middleware: act as what their list says, the
        first outermost.  plugins: act as all they can be, outside of both.
    Work in processes (workers with ``process = True``)
        max_processes: at a time; None for one per CPU.  process_kill_grace: how long their
        cancelled jobs may clean up before they are killed.
    """

    id: str | None = None
    schema: str | None = None
    queues: Mapping[str, QueueConfig] = field(default_factory=dict)
    max_attempts: int = 25
    job_timeout: timedelta = timedelta(minutes=1)
    job_stuck_threshold: timedelta = timedelta(seconds=10)
    rescue_stuck_jobs_after: timedelta | None = None
    rescuer_discards_unknown_kinds: bool = False
    max_process_deaths: int = 3
    fetch_cooldown: timedelta = timedelta(milliseconds=100)
    fetch_poll_interval: timedelta = timedelta(seconds=1)
    fetch_only_known_kinds: bool = False
    leader_election_disabled: bool = False
    poll_only: bool = False
    soft_stop_timeout: timedelta | None = None
    hard_stop_timeout: timedelta | None = None
    cancelled_job_retention_period: timedelta = timedelta(hours=24)
    completed_job_retention_period: timedelta = timedelta(hours=24)
    discarded_job_retention_period: timedelta = timedelta(days=7)
    job_cleaner_timeout: timedelta = timedelta(seconds=30)
    reindexer_timeout: timedelta = timedelta(minutes=1)
    reindexer_schedule: PeriodicSchedule | None = None
    reindexer_index_names: Sequence[str] | None = None
    error_handler: ErrorHandler | None = None
    job_stuck_handler: JobStuckHandler | None = None
    retry_policy: RetryPolicy = field(default_factory=DefaultRetryPolicy)
    hooks: Sequence[Hook] = ()
    middleware: Sequence[Middleware] = ()
    plugins: Sequence[Plugin] = ()
    max_processes: int | None = None
    process_kill_grace: timedelta = timedelta(seconds=1)
    skip_unknown_job_check: bool = False
    max_args_bytes: int = 1024 * 1024

    def __post_init__(self) -> None:
        self._validate()

    @property
    def effective_rescue_after(self) -> timedelta:
        """``rescue_stuck_jobs_after``; unset: an hour, from the end of a set job timeout."""
        if self.rescue_stuck_jobs_after is not None:
            return self.rescue_stuck_jobs_after
        if self.job_timeout > timedelta(0) and self.job_timeout != timedelta(minutes=1):
            return self.job_timeout + timedelta(hours=1)
        return timedelta(hours=1)

    @property
    def extensions(self) -> Extensions:
        """``hooks``, ``middleware`` and ``plugins`` sorted by what they do."""
        return Extensions.of(hooks=self.hooks, middleware=self.middleware, plugins=self.plugins)

    def _validate(self) -> None:
        _check_types(self)
        _ = self.extensions
        for setting, (method, remedy) in _METHODS.items():
            given: object = getattr(self, setting)
            if given is not None and not callable(getattr(given, method, None)):
                raise ConfigError(setting, f"must have a method {method}(){remedy}")
        if self.job_stuck_handler is not None and not callable(self.job_stuck_handler):
            raise ConfigError("job_stuck_handler", "must be a function")
        if isinstance(self.reindexer_index_names, str):
            raise ConfigError("reindexer_index_names", "must be a list of names, not one text")
        for name in ("cancelled", "completed", "discarded"):
            setting = f"{name}_job_retention_period"
            if getattr(self, setting) < FOREVER:
                raise ConfigError(setting, "must be positive, or FOREVER to keep the rows")
        if self.fetch_cooldown < timedelta(milliseconds=1):
            raise ConfigError("fetch_cooldown", "must be at least 1 ms")
        if self.fetch_poll_interval < timedelta(milliseconds=1):
            raise ConfigError("fetch_poll_interval", "must be at least 1 ms")
        if self.fetch_poll_interval < self.fetch_cooldown:
            raise ConfigError("fetch_poll_interval", "must not be shorter than fetch_cooldown")
        if self.id is not None and not 0 < len(self.id.encode()) <= 100:
            raise ConfigError("id", "must have 1 to 100 bytes")
        if self.job_timeout < FOREVER:
            raise ConfigError("job_timeout", "must be positive, or FOREVER for none")
        if self.job_stuck_threshold < timedelta(0):
            raise ConfigError("job_stuck_threshold", "must not be negative")
        if self.max_attempts < 1 or self.max_attempts > 32767:
            raise ConfigError("max_attempts", "must be between 1 and 32767")
        if self.rescue_stuck_jobs_after is not None and (
            self.rescue_stuck_jobs_after < timedelta(0)
            or self.rescue_stuck_jobs_after < self.job_timeout
        ):
            raise ConfigError("rescue_stuck_jobs_after", "must not be shorter than job_timeout")
        if self.max_process_deaths < 0:
            raise ConfigError("max_process_deaths", "must not be negative; 0 is for never")
        for setting in ("soft_stop_timeout", "hard_stop_timeout"):
            timeout: timedelta | None = getattr(self, setting)
            if timeout is not None and timeout < timedelta(0):
                raise ConfigError(setting, "must not be negative")
        if self.max_processes is not None and self.max_processes < 1:
            raise ConfigError("max_processes", "must be at least 1")
        if self.process_kill_grace < timedelta(0):
            raise ConfigError("process_kill_grace", "must not be negative")
        if self.schema is not None:
            validate_schema(self.schema)
        queues: object = self.queues
        if not isinstance(queues, Mapping):
            raise ConfigError("queues", "must map names to QueueConfig")
        for queue, settings in self.queues.items():
            self.validate_queue(queue, settings)

    def validate_queue(self, queue: str, settings: QueueConfig) -> None:
        """Refuse a queue River would refuse; raises ``ConfigError``."""
        from riverengine.insert.plan import validate_queue_name

        try:
            validate_queue_name(queue)
        except ValueError as error:
            raise ConfigError("queues", str(error)) from error
        given: object = settings
        if not isinstance(given, QueueConfig):
            raise ConfigError(f"queues[{queue!r}]", "must be a QueueConfig(max_workers=...)")
        _check_types(settings, f"queues[{queue!r}].")
        if not 1 <= settings.max_workers <= 10_000:
            raise ConfigError(f"queues[{queue!r}].max_workers", "must be between 1 and 10,000")
        cooldown = settings.fetch_cooldown or self.fetch_cooldown
        interval = settings.fetch_poll_interval or self.fetch_poll_interval
        if cooldown < timedelta(milliseconds=1):
            raise ConfigError(f"queues[{queue!r}].fetch_cooldown", "must be at least 1 ms")
        if interval < cooldown:
            raise ConfigError(
                f"queues[{queue!r}].fetch_poll_interval", "must not be shorter than fetch_cooldown"
            )


def _check_types(settings: Config | QueueConfig, prefix: str = "") -> None:
    """Refuse what would fail, or compare wrongly, only once it is used."""
    for each in fields(settings):
        declared = str(each.type)
        wanted = _TYPES.get(declared.removesuffix(" | None"))
        value: object = getattr(settings, each.name)
        if wanted is None or isinstance(value, wanted) or (value is None and "None" in declared):
            continue
        hint = ": timedelta(seconds=...)" if wanted is timedelta else ""
        raise ConfigError(
            prefix + each.name, f"must be {wanted.__name__}, not {type(value).__name__}{hint}"
        )


def validate_schema(schema: str) -> None:
    """Refuse a schema name River would refuse; raises ``ConfigError``.

    The limit of 46 characters leaves room for the longest topic in PostgreSQL's 63-byte channel
    names.
    """
    if len(schema) > 46:
        raise ConfigError("schema", "must be at most 46 characters long")
    if not _SCHEMA.fullmatch(schema):
        raise ConfigError(
            "schema", "must be letters, digits and underscores, not starting with a digit"
        )
