"""The workflow layer's exceptions.

::

    WorkflowError (RiverError)
    ├── DefinitionError (ValueError)          a definition contradicts itself
    ├── UnknownWorkflowTypeError (LookupError) no definition of this type is registered
    ├── WorkflowNotFoundError (LookupError)   no execution has this id
    ├── WorkflowInputError (ValueError)       the input does not fit the definition's model
    ├── WorkflowStateError                    the execution's status forbids the operation
    ├── ContextValueError (ValueError)        a value that a context cannot hold
    │   └── ContextTooLargeError              the context would exceed its limit
    └── PermanentStepError                    raised by a step: trying again cannot help

A step's own exception counts as permanent, too, when it has an attribute ``permanent`` that is
True; one with a ``retry_after`` (a timedelta) is tried again no earlier than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from riverengine import RiverError


class WorkflowError(RiverError):
    """Root of the workflow layer's exceptions."""


class DefinitionError(WorkflowError, ValueError):
    """A workflow definition contradicts itself; the message names workflow and step."""


class UnknownWorkflowTypeError(WorkflowError, LookupError):
    """No definition of this type is registered."""

    def __init__(self, workflow_type: str, known: Sequence[str]) -> None:
        names = ", ".join(sorted(known)) or "none"
        super().__init__(f"unknown workflow type {workflow_type!r}; registered: {names}")
        self.workflow_type = workflow_type
        self.known = tuple(sorted(known))


class WorkflowNotFoundError(WorkflowError, LookupError):
    """No execution has this id."""

    def __init__(self, workflow_id: str) -> None:
        super().__init__(f"workflow {workflow_id!r} not found")
        self.workflow_id = workflow_id


class WorkflowInputError(WorkflowError, ValueError):
    """The input does not fit; ``problems`` are pairs of a field's path and what is wrong there.

    Values are never repeated: they may be private.
    """

    def __init__(self, workflow_type: str, problems: Sequence[tuple[str, str]]) -> None:
        lines = "; ".join(
            f"{field}: {message}" if field else message for field, message in problems
        )
        super().__init__(f"the input of {workflow_type} is refused: {lines}")
        self.workflow_type = workflow_type
        self.problems = tuple(problems)


class WorkflowStateError(WorkflowError):
    """The execution's status forbids the operation."""

    def __init__(self, workflow_id: str, status: str, reason: str) -> None:
        super().__init__(f"workflow {workflow_id} is {status}: {reason}")
        self.workflow_id = workflow_id
        self.status = status


class ContextValueError(WorkflowError, ValueError):
    """A value that a context cannot hold; ``path`` says where."""

    permanent = True

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path


class ContextTooLargeError(ContextValueError):
    """The context would exceed its limit."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"the context would have {size:,} bytes, but the limit is {limit:,}")
        self.size = size
        self.limit = limit


class PermanentStepError(WorkflowError):
    """Raised by a step's code: fail the workflow, trying again cannot help."""

    permanent = True


def is_permanent(error: BaseException) -> bool:
    """Whether a step that raised ``error`` is not tried again."""
    return getattr(error, "permanent", False) is True


def retry_after(error: BaseException) -> timedelta | None:
    """How long ``error`` asks to wait before the next attempt, if it does."""
    asked = getattr(error, "retry_after", None)
    return asked if isinstance(asked, timedelta) else None
