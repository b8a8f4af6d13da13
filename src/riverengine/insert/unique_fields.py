"""Which fields of an args type count when a job is unique by its args.

Source: rivershared/structtag/struct_tag.go at v0.51.1, whose tag ``river:"unique"`` is ``Unique``
here.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated, ClassVar, NamedTuple

from riverengine.types.errors import UniqueOptsError

Path = tuple[str, ...]
"""JSON names from the outermost to the field's; a dot in a name means nothing."""


class Unique:
    """Marks a field of an args type, as in ``order_id: Annotated[str, Unique]``.

    With ``UniqueOpts(by_args=True)`` only marked fields count; without any mark all args do. A
    field that holds another dataclass, struct or model is looked into: marks in there count, and
    without any a mark on the field itself takes its value as a whole. A class that occurs a second
    time is not looked into again.
    """


class _Member(NamedTuple):
    """One field of an args type: its JSON name, its type and whether it is marked."""

    name: str
    nested: type | None
    marked: bool


@lru_cache(maxsize=1024)
def marked_paths(args_type: type) -> tuple[Path, ...]:
    """The marked fields of a dataclass, msgspec struct or pydantic model; none for other types.

    Raises ``UniqueOptsError`` when annotations name what cannot be found.
    """
    return tuple(_marked(args_type, (), set()))


def _marked(args_type: type, above: Path, seen: set[type]) -> Iterator[Path]:
    if args_type in seen:
        return
    seen.add(args_type)
    for member in _members(args_type):
        path = (*above, member.name)
        inside = [] if member.nested is None else list(_marked(member.nested, path, seen))
        if inside:
            yield from inside
        elif member.marked:
            yield path


def _members(args_type: type) -> Iterator[_Member]:
    names = _json_names(args_type)
    if not names:
        return
    try:
        hints = typing.get_type_hints(args_type, include_extras=True)
    except (NameError, AttributeError) as error:
        raise UniqueOptsError(
            f"an annotation of {args_type.__qualname__} names {error.name!r}, which its module does"
            " not define; import it at module level"
        ) from None
    for attribute, name in names.items():
        hint = hints.get(attribute)
        marked = any(item is Unique or isinstance(item, Unique) for item in _extras(hint))
        yield _Member(name, _nested(hint), marked)


def _json_names(args_type: type) -> dict[str, str]:
    """Attribute to JSON name, in the order of the fields."""
    if dataclasses.is_dataclass(args_type):
        return {field.name: field.name for field in dataclasses.fields(args_type)}
    encoded = getattr(args_type, "__struct_encode_fields__", None)
    if encoded is not None:
        return dict(zip(getattr(args_type, "__struct_fields__", ()), encoded, strict=True))
    fields = getattr(args_type, "model_fields", None)
    if isinstance(fields, dict):
        by_alias = getattr(args_type, "model_config", {}).get("serialize_by_alias", False)
        return {
            attribute: (by_alias and field.serialization_alias) or attribute
            for attribute, field in fields.items()
        }
    return {}


def _extras(hint: object) -> tuple[object, ...]:
    """What ``Annotated`` adds to a hint, at the top or in one half of an optional."""
    if typing.get_origin(hint) is Annotated:
        return (*hint.__metadata__, *_extras(typing.get_args(hint)[0]))  # type: ignore[attr-defined]
    return tuple(extra for part in _optional(hint) for extra in _extras(part))


def _nested(hint: object) -> type | None:
    if typing.get_origin(hint) is Annotated:
        return _nested(typing.get_args(hint)[0])
    parts = _optional(hint)
    if parts:
        return _nested(parts[0])
    if typing.get_origin(hint) is ClassVar:
        return None
    return hint if isinstance(hint, type) and _json_names(hint) else None


def _optional(hint: object) -> tuple[object, ...]:
    """The other half of ``X | None``; empty for everything else."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return ()
    others = tuple(part for part in typing.get_args(hint) if part is not types.NoneType)
    return others if len(others) == 1 else ()
