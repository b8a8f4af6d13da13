"""Which worker runs which kind of job."""

from __future__ import annotations

import inspect
import re
import typing
from dataclasses import dataclass
from typing import Any

from riverengine.work.worker import Worker

_KIND = re.compile(r"[\w][\w\-\[\]<>/.·:+]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class RegisteredWorker:
    """A worker with the args type it takes; ``kind`` is the name it was looked up by.

    The flags say what is the same for every job: whether ``work`` is a coroutine function, and
    whether the worker has a timeout or middleware of its own.
    """

    worker: Worker[Any]
    args_type: type
    kind: str
    is_async: bool
    has_timeout: bool
    has_middleware: bool

    @classmethod
    def of(cls, worker: Worker[Any], args_type: type, kind: str) -> RegisteredWorker:
        """Look at a worker once, for all its jobs."""
        return cls(
            worker=worker,
            args_type=args_type,
            kind=kind,
            is_async=inspect.iscoroutinefunction(worker.work),
            has_timeout=_is_overridden(worker, "timeout"),
            has_middleware=_is_overridden(worker, "middleware"),
        )


class Workers:
    """The workers of a client, by kind and by kind alias."""

    def __init__(self) -> None:
        self._by_kind: dict[str, RegisteredWorker] = {}

    def add(self, worker: Worker[Any]) -> None:
        """Register a worker; raises ``ValueError`` and changes nothing when a kind is taken."""
        args_type = _args_type(worker)
        kind: object = getattr(args_type, "kind", None)
        if not isinstance(kind, str) or not _KIND.fullmatch(kind):
            raise ValueError(
                f"{args_type.__name__}.kind must be letters, digits and -_[]<>/.·:+, "
                f"at least 2 characters, not {kind!r}"
            )
        names = (kind, *getattr(args_type, "kind_aliases", ()))
        taken = [name for name in names if name in self._by_kind]
        if taken or len(set(names)) != len(names):
            raise ValueError(f"worker for kind {(taken or list(names))[0]!r} is already registered")
        for name in names:
            self._by_kind[name] = RegisteredWorker.of(worker, args_type, name)

    def get(self, kind: str) -> RegisteredWorker | None:
        """The worker of a kind or alias, None if there is none."""
        return self._by_kind.get(kind)

    def kinds(self) -> list[str]:
        """All kinds and aliases, sorted."""
        return sorted(self._by_kind)

    def __len__(self) -> int:
        return len(self._by_kind)


def _is_overridden(worker: Worker[Any], name: str) -> bool:
    return name in getattr(worker, "__dict__", {}) or getattr(type(worker), name) is not getattr(
        Worker, name
    )


def _args_type(worker: Worker[Any]) -> type:
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
                and isinstance(arguments[0], type)
            ):
                return arguments[0]
    raise ValueError(
        f"{type(worker).__name__} does not say its args type: derive from Worker[YourArgs]"
    )
