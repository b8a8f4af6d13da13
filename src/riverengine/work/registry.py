"""Which worker runs which kind of job."""

from __future__ import annotations

import re
import typing
from dataclasses import dataclass
from typing import Any

from riverengine.work.worker import Worker

_KIND = re.compile(r"[\w][\w\-\[\]<>/.·:+]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class RegisteredWorker:
    """A worker with the args type it takes; ``kind`` is the name it was looked up by."""

    worker: Worker[Any]
    args_type: type
    kind: str


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
            self._by_kind[name] = RegisteredWorker(worker, args_type, name)

    def get(self, kind: str) -> RegisteredWorker | None:
        """The worker of a kind or alias, None if there is none."""
        return self._by_kind.get(kind)

    def kinds(self) -> list[str]:
        """All kinds and aliases, sorted."""
        return sorted(self._by_kind)

    def __len__(self) -> int:
        return len(self._by_kind)


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
