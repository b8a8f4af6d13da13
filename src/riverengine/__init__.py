"""River for Python: background jobs on PostgreSQL, sharing a database with Go River v0.51.1."""

from riverengine.client import Client, InsertManyParams, InsertResult, JobListParams
from riverengine.client.resumable import resumable_set_step_cursor_tx, resumable_set_step_tx
from riverengine.config import FOREVER, Config, QueueConfig
from riverengine.insert.options import InsertOpts, UniqueOpts
from riverengine.run.clock import Clock, SystemClock
from riverengine.run.events import Subscription
from riverengine.run.maintenance.cron import parse_cron
from riverengine.run.maintenance.periodic import PeriodicInterval, PeriodicJob
from riverengine.schema.migrator import Migrator, check_schema
from riverengine.types.errors import (
    AmbiguousCommitError,
    ArgsDecodeError,
    ArgsEncodeError,
    ConfigError,
    DatabaseUnavailableError,
    InsertError,
    JobNotFoundError,
    JobNotRunningError,
    JobRunningError,
    MigrationError,
    NotFoundError,
    QueueAlreadyAddedError,
    QueueNotFoundError,
    ResumableCheckpointError,
    ResumableCursorError,
    ResumableError,
    ResumableStepNameError,
    ResumableStepNotFoundError,
    ResumableUsageError,
    RiverError,
    SchemaVersionError,
    StopTimeoutError,
    UniqueOptsError,
    UnknownJobKindError,
)
from riverengine.types.event import Event, EventKind, JobStats
from riverengine.types.job import AttemptError, JobId, JobRow, JobState, Json
from riverengine.types.queue import Queue
from riverengine.types.signals import JobCancel, JobSnooze
from riverengine.work.args import JobArgs
from riverengine.work.context import (
    cancel_requested,
    client_from_context,
    current_job,
    metadata_set,
    record_output,
)
from riverengine.work.error_handler import ErrorHandler, ErrorHandlerResult
from riverengine.work.middleware import JobInsertMiddleware, WorkerMiddleware
from riverengine.work.outcome import Cancelled, Completed, Failed, Outcome, Snoozed
from riverengine.work.registry import Workers
from riverengine.work.resumable import (
    resumable_set_cursor,
    resumable_step,
    resumable_step_cursor,
    resumable_step_cursor_sync,
    resumable_step_sync,
)
from riverengine.work.retry import DefaultRetryPolicy, RetryPolicy
from riverengine.work.worker import NO_TIMEOUT, Job, Worker

__all__ = [
    "FOREVER",
    "NO_TIMEOUT",
    "AmbiguousCommitError",
    "ArgsDecodeError",
    "ArgsEncodeError",
    "AttemptError",
    "Cancelled",
    "Client",
    "Clock",
    "Completed",
    "Config",
    "ConfigError",
    "DatabaseUnavailableError",
    "DefaultRetryPolicy",
    "ErrorHandler",
    "ErrorHandlerResult",
    "Event",
    "EventKind",
    "Failed",
    "InsertError",
    "InsertManyParams",
    "InsertOpts",
    "InsertResult",
    "Job",
    "JobArgs",
    "JobCancel",
    "JobId",
    "JobInsertMiddleware",
    "JobListParams",
    "JobNotFoundError",
    "JobNotRunningError",
    "JobRow",
    "JobRunningError",
    "JobSnooze",
    "JobState",
    "JobStats",
    "Json",
    "MigrationError",
    "Migrator",
    "NotFoundError",
    "Outcome",
    "PeriodicInterval",
    "PeriodicJob",
    "Queue",
    "QueueAlreadyAddedError",
    "QueueConfig",
    "QueueNotFoundError",
    "ResumableCheckpointError",
    "ResumableCursorError",
    "ResumableError",
    "ResumableStepNameError",
    "ResumableStepNotFoundError",
    "ResumableUsageError",
    "RetryPolicy",
    "RiverError",
    "SchemaVersionError",
    "Snoozed",
    "StopTimeoutError",
    "Subscription",
    "SystemClock",
    "UniqueOpts",
    "UniqueOptsError",
    "UnknownJobKindError",
    "Worker",
    "WorkerMiddleware",
    "Workers",
    "cancel_requested",
    "check_schema",
    "client_from_context",
    "current_job",
    "metadata_set",
    "parse_cron",
    "record_output",
    "resumable_set_cursor",
    "resumable_set_step_cursor_tx",
    "resumable_set_step_tx",
    "resumable_step",
    "resumable_step_cursor",
    "resumable_step_cursor_sync",
    "resumable_step_sync",
]
