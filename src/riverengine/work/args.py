"""Job args: any class with a ``kind``, encoded to JSON and decoded again.

Dataclasses, msgspec structs and pydantic models are understood; any other class may offer ``to_json()``.
"""

from __future__ import annotations

from typing import ClassVar, Protocol, runtime_checkable


@runtime_checkable
class JobArgs(Protocol):
    """Arguments of one kind of job.

    ``kind`` selects the worker. An args class may also define ``kind_aliases: ClassVar[tuple[str, ...]]``
    (former names, still worked) and a method ``insert_opts() -> InsertOpts``.
    """

    kind: ClassVar[str]
