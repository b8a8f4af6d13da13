"""For the tests of applications: assertions on inserted jobs, workers run in a transaction, a clock
that stands still. Fixtures come with the pytest plugin, which needs no import.

Source of behaviour: River's rivertest at v0.51.1. No production module imports this package.
"""

from riverengine.testing.clock import FrozenClock
from riverengine.testing.inserted import (
    ExpectedJob,
    RequireInsertedOpts,
    require_inserted,
    require_inserted_sync,
    require_many_inserted,
    require_many_inserted_sync,
    require_not_inserted,
    require_not_inserted_sync,
)
from riverengine.testing.resumable import resumable_step_after, resumable_step_at_cursor
from riverengine.testing.transaction_pool import TransactionPool
from riverengine.testing.work_context import job_of, work_context
from riverengine.testing.worker_tester import WorkerTester, WorkResult

__all__ = [
    "ExpectedJob",
    "FrozenClock",
    "RequireInsertedOpts",
    "TransactionPool",
    "WorkResult",
    "WorkerTester",
    "job_of",
    "require_inserted",
    "require_inserted_sync",
    "require_many_inserted",
    "require_many_inserted_sync",
    "require_not_inserted",
    "require_not_inserted_sync",
    "resumable_step_after",
    "resumable_step_at_cursor",
    "work_context",
]
