"""Which worker runs which kind of job."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, overload

from riverengine.types.work_errors import (
    JobKindError,
    WorkerAlreadyRegisteredError,
    WorkerArgsTypeError,
)
from riverengine.work.function import (
    NextRetry,
    WorkFunc,
    annotated_args_type,
    says_args,
    work_func,
)
from riverengine.work.middleware import WorkerMiddleware
from riverengine.work.worker import Worker

ArgsT = TypeVar("ArgsT")
WorkFuncT = TypeVar("WorkFuncT", bound=WorkFunc[Any])

_KIND = re.compile(r"[\w][\w\-\[\]<>/.·:+]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class RegisteredWorker:
    """A worker with the args type it takes; ``kind`` is the name it was looked up by.

    The flags say what is the same for every job: whether ``work`` is a coroutine function to run on
    the loop, whether it runs in a process, and whether the worker has a timeout or middleware of
    its own.
    """

    worker: Worker[Any]
    args_type: type
    kind: str
    is_async: bool
    in_process: bool
    has_timeout: bool
    has_middleware: bool

    @classmethod
    def of(cls, worker: Worker[Any], args_type: type, kind: str) -> RegisteredWorker:
        """Look at a worker once, for all its jobs."""
        return cls(
            worker=worker,
            args_type=args_type,
            kind=kind,
            is_async=inspect.iscoroutinefunction(worker.work) and not worker.process,
            in_process=worker.process,
            has_timeout=_is_overridden(worker, "timeout"),
            has_middleware=_is_overridden(worker, "middleware"),
        )


class Workers:
    """The workers of a client, by kind and by kind alias.

    A registration that fails raises a ``WorkerRegistrationError`` and changes nothing.
    """

    def __init__(self) -> None:
        self._by_kind: dict[str, RegisteredWorker] = {}

    def add(self, worker: Worker[Any]) -> None:
        """Register a worker for the kind of its args type, and for the type's ``kind_aliases``."""
        args_type = args_type_of(worker)
        self._register(args_type, args_type, worker)

    def add_args(self, args: ArgsT | type[ArgsT], worker: Worker[ArgsT]) -> None:
        """Register a worker for explicit args: an args type, or an example of args.

        For workers that do not declare their args type, and for kinds that differ between
        instances of one type: an example's own ``kind`` and ``kind_aliases`` count.
        """
        self._register(args, args if isinstance(args, type) else type(args), worker)

    @overload
    def worker(self, function: WorkFuncT, /) -> WorkFuncT: ...

    @overload
    def worker(
        self,
        args_type: type | None = None,
        /,
        *,
        timeout: timedelta | None = None,
        next_retry: NextRetry[Any] | None = None,
        middleware: Sequence[WorkerMiddleware] = (),
        process: bool = False,
    ) -> Callable[[WorkFuncT], WorkFuncT]: ...

    def worker(
        self,
        given: WorkFuncT | type | None = None,
        /,
        *,
        timeout: timedelta | None = None,
        next_retry: NextRetry[Any] | None = None,
        middleware: Sequence[WorkerMiddleware] = (),
        process: bool = False,
    ) -> WorkFuncT | Callable[[WorkFuncT], WorkFuncT]:
        """Register a function as a worker; a decorator that returns the function as it is.

        Used as ``@workers.worker`` it takes the args type from the function's annotation,
        ``job: Job[EmailArgs]``; ``@workers.worker(EmailArgs)`` names it. The options are those of
        :func:`work_func`.
        """

        def register(function: WorkFuncT) -> WorkFuncT:
            args_type = given if isinstance(given, type) else annotated_args_type(function)
            self.add_args(
                args_type,
                work_func(
                    args_type,
                    function,
                    timeout=timeout,
                    next_retry=next_retry,
                    middleware=middleware,
                    process=process,
                ),
            )
            return function

        if given is None or isinstance(given, type):
            return register
        return register(given)

    def get(self, kind: str) -> RegisteredWorker | None:
        """The worker of a kind or alias, None if there is none."""
        return self._by_kind.get(kind)

    def kinds(self) -> list[str]:
        """All kinds and aliases, sorted."""
        return sorted(self._by_kind)

    def __contains__(self, kind: object) -> bool:
        """Whether a kind or alias has a worker."""
        return kind in self._by_kind

    def __len__(self) -> int:
        return len(self._by_kind)

    def _register(self, args: object, args_type: type, worker: Worker[Any]) -> None:
        kind: object = getattr(args, "kind", None)
        names = (kind, *getattr(args, "kind_aliases", ()))
        checked: dict[str, RegisteredWorker] = {}
        for name in names:
            if not isinstance(name, str) or not _KIND.fullmatch(name):
                raise JobKindError(args_type, name)
            if name in self._by_kind or name in checked:
                raise WorkerAlreadyRegisteredError(name)
            checked[name] = RegisteredWorker.of(worker, args_type, name)
        self._by_kind |= checked


def _is_overridden(worker: Worker[Any], name: str) -> bool:
    return name in getattr(worker, "__dict__", {}) or getattr(type(worker), name) is not getattr(
        Worker, name
    )


def args_type_of(worker: Worker[Any]) -> type:
    """The args type a worker declares; raises ``WorkerArgsTypeError``."""
    given: object = worker
    if isinstance(given, type):
        raise WorkerArgsTypeError(given.__name__, f"it is a class: register {given.__name__}()")
    declared: object = getattr(worker, "args_type", None)
    if isinstance(declared, type):
        return declared
    for cls in type(worker).__mro__:
        for generic in getattr(cls, "__orig_bases__", ()):
            origin = typing.get_origin(generic)
            arguments = typing.get_args(generic)
            if (
                isinstance(origin, type)
                and issubclass(origin, Worker)
                and arguments
                and says_args(arguments[0])
            ):
                args_type: type = arguments[0]
                return args_type
    raise WorkerArgsTypeError(
        type(worker).__name__, "derive from Worker[YourArgs], or register it with add_args()"
    )
