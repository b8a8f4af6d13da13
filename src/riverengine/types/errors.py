"""The engine's exceptions.

::

    RiverError
    ├── ConfigError (ValueError)            a setting is out of its range
    ├── InsertError (ValueError)            a job was refused before any SQL ran
    │   ├── UniqueOptsError
    │   └── ArgsEncodeError                 args hold a value JSON or PostgreSQL cannot store
    ├── ArgsDecodeError (ValueError)        stored args do not fit the worker's args type
    ├── JobRowDecodeError                   a claimed row could not be read
    ├── InvalidParamsError (ValueError)     parameters of a list or of a change were refused
    │   ├── NamedArgError                   a where() and its named arguments do not fit
    │   └── UnfilteredError                 a change of many jobs names no filter
    ├── CursorError (ValueError)            a list's cursor cannot be read or written
    ├── UnknownJobKindError (LookupError)   no worker registered for a kind
    ├── WorkerRegistrationError (ValueError)  a worker cannot be registered as it is
    │   ├── WorkerAlreadyRegisteredError    its kind, or an alias of it, has a worker already
    │   ├── JobKindError                    its kind has characters River does not allow
    │   └── WorkerArgsTypeError             it does not say which args it takes
    ├── PeriodicJobError (ValueError)       a periodic job's settings contradict River's rules
    │   └── PeriodicJobIdTakenError         another periodic job has its ID
    ├── ResumableError                      resumable steps were used against their rules
    │   ├── ResumableUsageError             a call outside of a step, or one step inside another
    │   ├── ResumableStepNameError          a step name is used twice
    │   ├── ResumableStepNotFoundError      an earlier attempt's step was not reached
    │   ├── ResumableCursorError            a saved cursor needs another kind of step or type
    │   ├── ResumableValueError             the value of a step done earlier cannot be had
    │   └── ResumableCheckpointError        a checkpoint would overtake a saved cursor
    ├── UniqueConflictError                 another job holds the unique key
    ├── DuplicateInBatchError               two jobs of one batch have the same unique key
    ├── UnsupportedDriverError (TypeError)  no adapter for a connection of this type
    ├── OpenTransactionError                a transaction of the caller's is in the way
    ├── NoTransactionError                  a connection given as a transaction has none open
    ├── WorkProcessError                    a job could not be worked in a process
    │   ├── WorkProcessSendError            its args or its worker cannot be sent there
    │   ├── WorkProcessDiedError            the process ended before the job did
    │   └── RemoteWorkError                 stands for an error that cannot be brought back
    ├── NotInJobError (RuntimeError)        something for running jobs was called elsewhere
    ├── NotFoundError (LookupError)
    │   ├── JobNotFoundError
    │   └── QueueNotFoundError
    ├── QueueAlreadyAddedError (ValueError)
    ├── JobRunningError                     the operation refuses running jobs
    ├── JobNotRunningError                  the attempt no longer owns the job (fence)
    ├── SchemaVersionError                  the database's migrations do not fit this release
    ├── MigrationError                      a migration could not be applied as asked
    ├── DatabaseUnavailableError            no connection to PostgreSQL
    ├── AmbiguousCommitError                the connection broke while COMMIT was under way
    └── StopTimeoutError (TimeoutError)     jobs were still running at the end of the grace time

Every class carries its data as attributes. Decisions are made by class or SQLSTATE, never by
message.
Those of workers, periodic jobs and resumable steps are in :mod:`riverengine.types.work_errors`.
Control flow out of a worker is not an error: see :mod:`riverengine.types.signals`.
"""

from __future__ import annotations


class RiverError(Exception):
    """Root of the engine's exceptions."""


class ConfigError(RiverError, ValueError):
    """A client setting is invalid; ``setting`` names it."""

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(f"{setting}: {message}")
        self.setting = setting


class InsertError(RiverError, ValueError):
    """A job was refused before any SQL ran."""


class UniqueOptsError(InsertError):
    """The unique options contradict River's rules."""


class ArgsEncodeError(InsertError):
    """Job args hold a value that JSON or PostgreSQL cannot store.

    ``path`` says where, ``reason`` what is wrong there.
    """

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(
            f"error marshaling args to JSON: {message}" + (f" at {path}" if path else "")
        )
        self.path = path
        self.reason = message


class ArgsDecodeError(RiverError, ValueError):
    """Stored args do not fit the worker's args type."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(f"args of job kind {kind!r} could not be decoded: {reason}")
        self.kind = kind
        self.reason = reason


class JobRowDecodeError(RiverError):
    """A claimed row could not be read; its attempt fails without reaching a worker."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(f"job row couldn't be decoded: {type(reason).__name__}")


class InvalidParamsError(RiverError, ValueError):
    """Parameters of a list, or of a change of many jobs, were refused; ``parameter`` names one."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter


class NamedArgError(InvalidParamsError):
    """The SQL of a ``where()`` and its named arguments do not fit; ``name`` is the argument's."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__("where", message)
        self.name = name


class UnfilteredError(InvalidParamsError):
    """A change of many jobs names no filter, which would reach all of them."""

    def __init__(self, message: str) -> None:
        super().__init__("unsafe_all", message)


class CursorError(RiverError, ValueError):
    """A list's cursor cannot be read or written."""


class UnknownJobKindError(RiverError, LookupError):
    """No worker is registered for ``kind``."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"job kind is not registered in the client's Workers bundle: {kind}")
        self.kind = kind


class UniqueConflictError(RiverError):
    """Another job holds the unique key; the driver's error is ``__cause__``.

    The transaction is aborted: roll it back.
    """

    def __init__(self) -> None:
        super().__init__("another job holds the unique key")


class DuplicateInBatchError(RiverError):
    """Two jobs of one batch have the same unique key; the driver's error is ``__cause__``.

    Nothing was inserted and the transaction is aborted: roll it back, and insert the jobs one by
    one or without the repetition.
    """

    def __init__(self) -> None:
        super().__init__("two jobs of the batch have the same unique key")


class UnsupportedDriverError(RiverError, TypeError):
    """There is no adapter for a connection of this type; ``given`` names it, ``wanted_as`` its use.

    See the page on drivers for those there are, and for how to write one.
    """

    def __init__(
        self, given: str, wanted_as: str = "a River client", remedy: str | None = None
    ) -> None:
        text = f"{given} cannot serve as {wanted_as}: "
        super().__init__(text + (f"give it {remedy}" if remedy else "no adapter for it"))
        self.given = given
        self.wanted_as = wanted_as


class OpenTransactionError(RiverError):
    """A client was to open a transaction of its own on a connection that has one open.

    Pass the connection as ``tx`` to insert in the open transaction, or end that first.
    """

    def __init__(self) -> None:
        super().__init__("the connection has a transaction open: pass it as tx, or end it first")


class NoTransactionError(RiverError):
    """A connection given as ``tx`` has no transaction open: each statement would commit by itself.

    ``remedy`` says how one is opened with the library that the connection belongs to.
    """

    def __init__(self, remedy: str) -> None:
        super().__init__(
            "the connection given as tx has no transaction open, and commits each statement by "
            f"itself: {remedy}"
        )
        self.remedy = remedy


class NotFoundError(RiverError, LookupError):
    """The row asked for does not exist."""


class JobNotFoundError(NotFoundError):
    """No job has this id."""

    def __init__(self, job_id: int) -> None:
        super().__init__(f"job {job_id} not found")
        self.job_id = job_id


class QueueNotFoundError(NotFoundError):
    """No queue has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f'queue "{name}" not found')
        self.name = name


class QueueAlreadyAddedError(RiverError, ValueError):
    """The client already works this queue."""

    def __init__(self, name: str) -> None:
        super().__init__(f'queue "{name}" already added')
        self.name = name


class JobRunningError(RiverError):
    """Running jobs cannot be deleted."""

    def __init__(self, job_id: int) -> None:
        super().__init__(f"running jobs cannot be deleted: cancel job {job_id} first")
        self.job_id = job_id


class JobNotRunningError(RiverError):
    """The attempt no longer owns the job: it was finished, rescued or fetched again meanwhile.

    Let it out of the block that began the transaction, so that this is rolled back: what it was to
    write is the newer attempt's to write.
    """

    def __init__(self, job_id: int, attempt: int) -> None:
        super().__init__(
            f"attempt {attempt} of job {job_id} no longer owns the job: roll back what it did"
        )
        self.job_id = job_id
        self.attempt = attempt


class SchemaVersionError(RiverError):
    """The database's migrations do not fit this release; the message names the command to run."""


class MigrationError(RiverError):
    """A migration could not be applied as asked."""


class DatabaseUnavailableError(RiverError):
    """PostgreSQL could not be reached; the driver's error is ``__cause__``."""


class AmbiguousCommitError(RiverError):
    """The connection broke while COMMIT was under way: it may have happened or not.

    Look for the effect before repeating it, or repeat with a unique key. The driver's error is
    ``__cause__``.
    """

    def __init__(
        self,
        message: str = "the connection broke while COMMIT was under way: the changes may be stored",
    ) -> None:
        super().__init__(message)


class StopTimeoutError(RiverError, TimeoutError):
    """Jobs were still running when the grace time ended."""

    def __init__(self, running: int) -> None:
        super().__init__(f"{running} job(s) still running at the end of the grace time")
        self.running = running
