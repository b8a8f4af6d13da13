"""The exceptions of what users write around a job; the tree is in ``types/errors.py``."""

from __future__ import annotations

from riverengine.types.errors import RiverError
from riverengine.types.go_quote import quoted


class WorkerRegistrationError(RiverError, ValueError):
    """A worker cannot be registered as it is; the registry stays unchanged."""


class WorkerAlreadyRegisteredError(WorkerRegistrationError):
    """``kind`` has a worker already."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"worker for kind {quoted(kind)} is already registered")
        self.kind = kind


class JobKindError(WorkerRegistrationError):
    """The kind of ``args_type`` is not one River allows."""

    def __init__(self, args_type: type, kind: object) -> None:
        given = "a method" if callable(kind) else repr(kind)
        super().__init__(
            f"{args_type.__name__}.kind must be letters, digits and -_[]<>/.·:+, at least 2 "
            f"characters, not {given}"
        )
        self.args_type = args_type
        self.kind = kind


class WorkerArgsTypeError(WorkerRegistrationError):
    """A worker, called ``name``, does not say which args it takes."""

    def __init__(self, name: str, remedy: str) -> None:
        super().__init__(f"{name} does not say its args type: {remedy}")
        self.name = name


class PeriodicJobError(RiverError, ValueError):
    """The settings of a periodic job contradict River's rules."""


class PeriodicJobIdTakenError(PeriodicJobError):
    """The client has a periodic job with this ID; ``id`` tells it."""

    def __init__(self, id: str) -> None:  # noqa: A002 - River's name
        super().__init__(f"periodic job with ID already registered: {id}")
        self.id = id


class ResumableError(RiverError):
    """Resumable steps were used against their rules; the texts are River's."""


class ResumableUsageError(ResumableError):
    """A call outside of the step it belongs to, or a step inside another."""


class ResumableStepNameError(ResumableError):
    """Two steps of one worker share a name: ``step_name``."""

    def __init__(self, step_name: str) -> None:
        super().__init__(f"river: duplicate resumable step name {quoted(step_name)}")
        self.step_name = step_name


class ResumableStepNotFoundError(ResumableError):
    """An earlier attempt got to ``step_name``, which the worker does not have any more.

    has_cursor: whether it left a cursor there without having completed any step.
    """

    def __init__(self, step_name: str, *, has_cursor: bool) -> None:
        what = "resumable cursor step" if has_cursor else "resumable step"
        super().__init__(f"river: {what} {quoted(step_name)} not found in Worker")
        self.step_name = step_name
        self.has_cursor = has_cursor


class ResumableCursorError(ResumableError):
    """A saved cursor cannot be used; ``step_name`` is None when all cursors are unreadable."""

    def __init__(self, message: str, *, step_name: str | None) -> None:
        super().__init__(f"river: {message}")
        self.step_name = step_name


class ResumableValueError(ResumableError):
    """The value of ``step_name``, done by an earlier attempt, was not kept or does not decode."""

    def __init__(self, step_name: str, reason: str) -> None:
        super().__init__(f"value of resumable step {quoted(step_name)}: {reason}")
        self.step_name = step_name
        self.reason = reason


class ResumableCheckpointError(ResumableError):
    """A checkpoint was asked for before the step whose saved cursor still waits: ``step_name``."""

    def __init__(self, step_name: str) -> None:
        super().__init__(
            f"river: resumable checkpoint cannot precede saved cursor step {quoted(step_name)}"
        )
        self.step_name = step_name


class WorkProcessError(RiverError):
    """A job could not be worked in a process of its own."""


class WorkProcessSendError(WorkProcessError):
    """A job's args or its worker cannot be pickled; ``reason`` is the type of what was raised."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the job cannot be sent to a process: {reason}")
        self.reason = reason


class WorkProcessDiedError(WorkProcessError):
    """The process ended before the job did; ``exit_code`` is minus the signal that killed it."""

    def __init__(self, exit_code: int | None) -> None:
        super().__init__(f"the work process ended with exit code {exit_code}")
        self.exit_code = exit_code


class RemoteWorkError(WorkProcessError):
    """Stands for an error of a work process that pickle cannot bring back; the text is its own."""


class NotInJobError(RiverError, RuntimeError):
    """Something that works only inside of a running job was called elsewhere."""

    def __init__(self) -> None:
        super().__init__("this works only inside a running job")
