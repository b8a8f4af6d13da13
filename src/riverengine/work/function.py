"""Functions as workers.

Source: worker.go, WorkFunc, at v0.51.1; timeout, retry and middleware are options of the function
here, where Go asks for a worker type.
"""

from __future__ import annotations

import typing
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from riverengine.types.job import JobRow
from riverengine.types.work_errors import (
    WorkerArgsTypeError,
)
from riverengine.work.worker import Job, Worker

if TYPE_CHECKING:
    from riverengine.work.middleware import WorkerMiddleware

ArgsT = TypeVar("ArgsT")

WorkFunc = Callable[[Job[ArgsT]], Awaitable[None] | None]
"""Works one job: ``async def`` on the event loop, or a plain ``def`` in a thread."""

NextRetry = Callable[[Job[ArgsT]], datetime | None]
"""When to run a failed job again; None for the client's retry policy."""


class FunctionWorker(Worker[ArgsT]):
    """A worker that calls a function; made by :func:`work_func`."""

    def __init__(
        self,
        args_type: type[ArgsT],
        function: WorkFunc[ArgsT],
        *,
        timeout: timedelta | None = None,
        next_retry: NextRetry[ArgsT] | None = None,
        middleware: Sequence[WorkerMiddleware] = (),
        process: bool = False,
    ) -> None:
        # Attributes of the instance, and only those needed: what a worker does not have of its own
        # costs its jobs nothing.
        own: dict[str, object] = {"args_type": args_type, "work": function}
        if timeout is not None:
            own["timeout"] = _constantly(timeout)
        if next_retry is not None:
            own["next_retry"] = next_retry
        if middleware:
            wrapped = tuple(middleware)
            own["middleware"] = _constantly(wrapped)
        if process:
            own["process"] = True
        self.__dict__.update(own)

    def __reduce__(self) -> tuple[object, ...]:
        # A process only needs what it calls.
        return FunctionWorker, (self.args_type, self.work)


def work_func(
    args_type: type[ArgsT],
    function: WorkFunc[ArgsT],
    *,
    timeout: timedelta | None = None,
    next_retry: NextRetry[ArgsT] | None = None,
    middleware: Sequence[WorkerMiddleware] = (),
    process: bool = False,
) -> Worker[ArgsT]:
    """A worker for ``args_type`` that calls ``function``.

    timeout: None for the client's, ``NO_TIMEOUT`` for none.  next_retry: None for the client's
    retry policy.  middleware: around this worker only, outermost first.  process: run in a process,
    which can be killed; see :class:`Worker`.
    """
    return FunctionWorker(
        args_type,
        function,
        timeout=timeout,
        next_retry=next_retry,
        middleware=middleware,
        process=process,
    )


def annotated_args_type(function: Callable[..., object]) -> type:
    """The args type in the annotation of a function's first parameter.

    Raises ``WorkerArgsTypeError``.
    """
    name = getattr(function, "__qualname__", type(function).__name__)
    remedy = "annotate its parameter as Job[YourArgs], or name the args type"
    try:
        hints = list(typing.get_type_hints(function).items())
    except (NameError, TypeError) as error:
        raise WorkerArgsTypeError(name, f"{remedy} ({type(error).__name__})") from error
    parameter, hint = hints[0] if hints else ("", None)
    arguments: tuple[Any, ...] = typing.get_args(hint)
    if typing.get_origin(hint) is not Job or parameter == "return" or not says_args(arguments[0]):
        raise WorkerArgsTypeError(name, remedy)
    args_type: type = arguments[0]
    return args_type


def says_args(hint: object) -> bool:
    """Whether a type argument names an args type, rather than leaving it open."""
    return isinstance(hint, type) and hint not in (Any, object)


def _constantly(value: object) -> Callable[[Job[Any] | JobRow], object]:
    return lambda _: value
