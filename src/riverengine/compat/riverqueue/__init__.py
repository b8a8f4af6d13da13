"""The interface of ``riverqueue`` 0.7.0, the official Python insert client, on this engine.

Its users change their imports: ``import riverqueue`` becomes ``from riverengine.compat import
riverqueue``, ``from riverqueue.driver import riversqlalchemy`` becomes ``from
riverengine.compat.riverqueue.driver import riversqlalchemy``. What is better, and what differs, is
on the page about migrating.
"""

from riverengine.compat.riverqueue.client import (
    MAX_ATTEMPTS_DEFAULT,
    PRIORITY_DEFAULT,
    QUEUE_DEFAULT,
    UNIQUE_STATES_DEFAULT,
    AsyncClient,
    Client,
    InsertManyParams,
    InsertResult,
)
from riverengine.compat.riverqueue.insert_opts import (
    InsertOpts,
    JobArgs,
    JobArgsWithInsertOpts,
    UniqueOpts,
)
from riverengine.compat.riverqueue.job import AttemptError, Job
from riverengine.compat.riverqueue.unique_key import UniqueKeys
from riverengine.types.job import JobState

__all__ = [
    "MAX_ATTEMPTS_DEFAULT",
    "PRIORITY_DEFAULT",
    "QUEUE_DEFAULT",
    "UNIQUE_STATES_DEFAULT",
    "AsyncClient",
    "AttemptError",
    "Client",
    "InsertManyParams",
    "InsertOpts",
    "InsertResult",
    "Job",
    "JobArgs",
    "JobArgsWithInsertOpts",
    "JobState",
    "UniqueKeys",
    "UniqueOpts",
]
