"""Sorts hooks, middleware and plugins by what they do.

Source: internal/pluginlookup at v0.51.1. Plugins come before the entries of ``hooks`` and of
``middleware``; an entry of ``hooks`` is a hook only, whatever else it could be, and one of
``middleware`` only middleware.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from riverengine.types.errors import ConfigError
from riverengine.work.hooks import (
    Hook,
    HookInsertBegin,
    HookMetricEmit,
    HookPeriodicJobsStart,
    HookWorkBegin,
    HookWorkEnd,
)
from riverengine.work.middleware import JobInsertMiddleware, Middleware, WorkerMiddleware

Plugin = Hook | Middleware
"""An object with any methods of hooks and middleware; it acts as all of them."""

_HOOKS = (HookInsertBegin, HookWorkBegin, HookWorkEnd, HookPeriodicJobsStart, HookMetricEmit)
_MIDDLEWARE = (JobInsertMiddleware, WorkerMiddleware)


@dataclass(frozen=True, slots=True)
class Extensions:
    """Hooks and middleware in the order in which they act."""

    insert_begin: tuple[HookInsertBegin, ...] = ()
    work_begin: tuple[HookWorkBegin, ...] = ()
    work_end: tuple[HookWorkEnd, ...] = ()
    periodic_jobs_start: tuple[HookPeriodicJobsStart, ...] = ()
    metric_emit: tuple[HookMetricEmit, ...] = ()
    insert_middleware: tuple[JobInsertMiddleware, ...] = ()
    worker_middleware: tuple[WorkerMiddleware, ...] = ()

    @classmethod
    def of(
        cls,
        *,
        hooks: Sequence[Hook] = (),
        middleware: Sequence[Middleware] = (),
        plugins: Sequence[Plugin] = (),
    ) -> Extensions:
        """Sort them; raises ``ConfigError`` for an object that can be none of its sort."""
        _check("hooks", hooks, _HOOKS)
        _check("middleware", middleware, _MIDDLEWARE)
        _check("plugins", plugins, (*_HOOKS, *_MIDDLEWARE))
        as_hooks, as_middleware = (*plugins, *hooks), (*plugins, *middleware)
        return cls(
            insert_begin=tuple(each for each in as_hooks if isinstance(each, HookInsertBegin)),
            work_begin=tuple(each for each in as_hooks if isinstance(each, HookWorkBegin)),
            work_end=tuple(each for each in as_hooks if isinstance(each, HookWorkEnd)),
            periodic_jobs_start=tuple(
                each for each in as_hooks if isinstance(each, HookPeriodicJobsStart)
            ),
            metric_emit=tuple(each for each in as_hooks if isinstance(each, HookMetricEmit)),
            insert_middleware=tuple(
                each for each in as_middleware if isinstance(each, JobInsertMiddleware)
            ),
            worker_middleware=tuple(
                each for each in as_middleware if isinstance(each, WorkerMiddleware)
            ),
        )


_of_args: dict[type, Extensions] = {}


def extensions_of(args_type: type) -> Extensions:
    """What an args type brings for its own jobs, by class attributes ``hooks`` and ``plugins``.

    Each is a sequence, or a class or static method that returns one; it is read once.  Raises
    ``ConfigError`` for anything else.
    """
    found = _of_args.get(args_type)
    if found is None:
        found = _of_args[args_type] = Extensions.of(
            hooks=cast("Sequence[Hook]", _declared(args_type, "hooks")),
            plugins=cast("Sequence[Plugin]", _declared(args_type, "plugins")),
        )
    return found


def _declared(args_type: type, name: str) -> Sequence[object]:
    if name in _field_names(args_type):
        return ()
    found: object = inspect.getattr_static(args_type, name, ())
    if isinstance(found, staticmethod | classmethod):
        found = getattr(args_type, name)()
    if not isinstance(found, list | tuple):
        raise ConfigError(
            f"{args_type.__name__}.{name}",
            "must be a list or tuple, or a class or static method returning one",
        )
    return found


def _field_names(args_type: type) -> Collection[str]:
    """Names of the args' own data, which may be called like anything."""
    if dataclasses.is_dataclass(args_type):
        return [field.name for field in dataclasses.fields(args_type)]
    fields: object = getattr(args_type, "__struct_fields__", None)
    fields = fields or getattr(args_type, "model_fields", ())
    return fields if isinstance(fields, Collection) else ()


def _check(setting: str, objects: object, sorts: tuple[type, ...]) -> None:
    if not isinstance(objects, Iterable):
        raise ConfigError(setting, "must be a list")
    for each in objects:
        if not isinstance(each, sorts):
            names = ", ".join(sort.__name__ for sort in sorts)
            raise ConfigError(setting, f"{type(each).__name__} is none of {names}")
