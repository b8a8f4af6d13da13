"""A client's settings as the harness describes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from riverengine.config import FOREVER, Config, QueueConfig
from riverengine.conformance.echo import EchoArgs
from riverengine.conformance.errors import RejectedError
from riverengine.conformance.job_params import NAME, SCHEMA
from riverengine.conformance.observations import (
    CancellingErrorHandler,
    Observations,
    TraceHooks,
    TraceMiddleware,
)
from riverengine.conformance.queues import DEFAULT_MAX_WORKERS
from riverengine.conformance.shapes import Flag, Integer, Items, Members
from riverengine.insert.options import InsertOpts, UniqueOpts
from riverengine.run.elector import ElectorTimings
from riverengine.run.maintenance.interval_service import MaintenanceTimings
from riverengine.run.maintenance.periodic_job import PeriodicJob
from riverengine.types.job import JobRow, Json
from riverengine.types.schedule import PeriodicInterval, PeriodicSchedule
from riverengine.work.retry import DefaultRetryPolicy, RetryPolicy

PERIODIC_ID = "conformance-periodic"
PERIODIC_MARKER_ID = "conformance-periodic-marker"

HARD_STOP_TIMEOUT = timedelta(seconds=3)
"""How long jobs that ignore their cancellation hold up a stop that cancels."""

_MILLISECOND = timedelta(milliseconds=1)
_COOLDOWN = _MILLISECOND
_POLL_INTERVAL = 20 * _MILLISECOND
"""Of the reference adapter: River's own would hide what a notification brings about."""
_RETENTION = Integer(minimum=-1)
_POSITIVE = Integer(minimum=1)

START = Members(
    {
        "cancelled_job_retention_ms": _RETENTION,
        "claim_barrier": NAME,
        "client_id": NAME,
        "completed_job_retention_ms": _RETENTION,
        "discarded_job_retention_ms": _RETENTION,
        "elect_interval_ms": _POSITIVE,
        "error_handler_cancel": Flag(),
        "fetch_poll_interval_ms": _POSITIVE,
        "instrumented": Flag(),
        "job_cleaner_interval_ms": _POSITIVE,
        "job_stuck_threshold_ms": _POSITIVE,
        "job_timeout_disabled": Flag(),
        "job_timeout_ms": _POSITIVE,
        "leader_election_disabled": Flag(),
        "max_workers": _POSITIVE,
        "periodic_run_on_start": Flag(),
        "periodic_unique": Flag(),
        "poll_only": Flag(),
        "queue": NAME,
        "queue_cleaner_interval_ms": _POSITIVE,
        "reindexer_index_names": Items(NAME),
        "reindexer_interval_ms": _POSITIVE,
        "rescue_after_ms": _POSITIVE,
        "rescuer_interval_ms": _POSITIVE,
        "retry_delay_ms": Integer(minimum=0),
        "scheduler_interval_ms": _POSITIVE,
        "schema": SCHEMA,
    },
    ("client_id",),
)


@dataclass(frozen=True, slots=True)
class FixedRetryPolicy:
    """Retries after the same delay every time."""

    delay: timedelta

    def next_retry(self, job: JobRow, now: datetime) -> datetime:
        """The delay from now."""
        return now + self.delay


def config_of(params: Mapping[str, Json], observations: Observations) -> Config:
    """The settings of a described client; raises ``ConfigError``."""
    instrumented = params.get("instrumented", False)
    poll = _duration(params, "fetch_poll_interval_ms", _POLL_INTERVAL)
    job_timeout = _duration(params, "job_timeout_ms", timedelta(minutes=1))
    rescue_after = params.get("rescue_after_ms")
    return Config(
        id=params["client_id"],
        schema=params.get("schema") or None,
        queues={
            params.get("queue", "default"): QueueConfig(
                max_workers=params.get("max_workers", DEFAULT_MAX_WORKERS)
            )
        },
        fetch_poll_interval=poll,
        fetch_cooldown=_COOLDOWN,
        job_timeout=FOREVER if params.get("job_timeout_disabled") else job_timeout,
        job_stuck_threshold=_duration(params, "job_stuck_threshold_ms", timedelta(seconds=10)),
        rescue_stuck_jobs_after=None if rescue_after is None else rescue_after * _MILLISECOND,
        leader_election_disabled=params.get("leader_election_disabled", False),
        poll_only=params.get("poll_only", False),
        cancelled_job_retention_period=_retention(params, "cancelled", timedelta(hours=24)),
        completed_job_retention_period=_retention(params, "completed", timedelta(hours=24)),
        discarded_job_retention_period=_retention(params, "discarded", timedelta(days=7)),
        hard_stop_timeout=HARD_STOP_TIMEOUT,
        reindexer_index_names=params.get("reindexer_index_names"),
        reindexer_schedule=_reindexer_schedule(params),
        rescuer_discards_unknown_kinds=True,
        error_handler=(
            CancellingErrorHandler(observations) if params.get("error_handler_cancel") else None
        ),
        retry_policy=_retry_policy(params),
        hooks=[TraceHooks(observations)] if instrumented else (),
        middleware=[TraceMiddleware(observations)] if instrumented else (),
    )


def periodic_jobs_of(params: Mapping[str, Json]) -> Sequence[PeriodicJob]:
    """The periodic jobs of a described client; raises ``RejectedError``."""
    unique = params.get("periodic_unique", False)
    if not params.get("periodic_run_on_start"):
        if unique:
            raise RejectedError("periodic_unique needs periodic_run_on_start")
        return ()
    opts = InsertOpts(unique_opts=UniqueOpts(by_args=True, by_queue=True)) if unique else None
    jobs = [_periodic_job(PERIODIC_ID, EchoArgs(message="periodic run on start"), opts)]
    if unique:
        jobs.append(_periodic_job(PERIODIC_MARKER_ID, EchoArgs(message="periodic marker"), None))
    return jobs


def elector_timings_of(params: Mapping[str, Json]) -> ElectorTimings | None:
    """The election's durations; None for River's."""
    if "elect_interval_ms" not in params:
        return None
    interval = params["elect_interval_ms"] * _MILLISECOND
    return ElectorTimings(interval=interval, jitter=interval / 5)


def maintenance_timings_of(params: Mapping[str, Json]) -> MaintenanceTimings:
    """The maintenance services' intervals: River's unless given."""
    given = {
        f"{name}_interval": params[f"{name}_interval_ms"] * _MILLISECOND
        for name in ("job_cleaner", "queue_cleaner", "rescuer", "scheduler")
        if f"{name}_interval_ms" in params
    }
    return MaintenanceTimings(**given)


def _periodic_job(job_id: str, args: EchoArgs, opts: InsertOpts | None) -> PeriodicJob:
    return PeriodicJob(
        PeriodicInterval(timedelta(hours=1)), lambda: (args, opts), id=job_id, run_on_start=True
    )


def _duration(params: Mapping[str, Json], name: str, default: timedelta) -> timedelta:
    return params[name] * _MILLISECOND if name in params else default


def _retention(params: Mapping[str, Json], state: str, default: timedelta) -> timedelta:
    given = params.get(f"{state}_job_retention_ms")
    if given == -1:
        return FOREVER
    return default if given is None else given * _MILLISECOND


def _reindexer_schedule(params: Mapping[str, Json]) -> PeriodicSchedule | None:
    interval = params.get("reindexer_interval_ms")
    return None if interval is None else PeriodicInterval(interval * _MILLISECOND)


def _retry_policy(params: Mapping[str, Json]) -> RetryPolicy:
    if "retry_delay_ms" in params:
        return FixedRetryPolicy(params["retry_delay_ms"] * _MILLISECOND)
    return DefaultRetryPolicy()
