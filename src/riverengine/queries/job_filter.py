"""Which jobs a statement over many jobs reaches: filters, and the statement's text for them.

The statements of ``job_many.sql`` hold every filter as a line of its own; the lines of filters that
were not given are left out, so that PostgreSQL plans only what was asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

from riverengine.queries.predicate import Predicate, bind_predicates
from riverengine.queries.statement import Statement
from riverengine.types.errors import InvalidParamsError
from riverengine.types.job import JobState, Json
from riverengine.work.go_json import encode_json

MAX_LIMIT = 10_000
"""Most jobs one list or one change may name."""

_OPTION = re.compile(r"[^\n]*-- if: (\w+)\n?")
_POSITION = re.compile(r"\$(\d+)")
_WHERE = "/* WHERE */"
INT64 = range(-(2**63), 2**63)
"""What a ``bigint`` holds."""
INT16 = range(-(2**15), 2**15)
"""What a ``smallint`` holds."""


@dataclass(frozen=True, kw_only=True)
class JobFilter:
    """Jobs that fit every filter given; None leaves a filter out, an empty sequence fits nothing.

    tags_all, tags_any: jobs with all, or with at least one, of these tags.  metadata, args: an
    object, or its JSON text, that the job's contain (``@>``).  predicates: see :meth:`where`.
    Raises ``InvalidParamsError``, and ``ArgsEncodeError`` for values JSON cannot hold.
    """

    ids: Sequence[int] | None = None
    kinds: Sequence[str] | None = None
    priorities: Sequence[int] | None = None
    queues: Sequence[str] | None = None
    states: Sequence[JobState] | None = None
    tags_all: Sequence[str] | None = None
    tags_any: Sequence[str] | None = None
    metadata: Mapping[str, Json] | str | None = None
    args: Mapping[str, Json] | str | None = None
    predicates: tuple[Predicate, ...] = ()

    def __post_init__(self) -> None:
        for name in ("kinds", "queues", "states", "tags_all", "tags_any"):
            check_texts(name, getattr(self, name))
        check_numbers("ids", self.ids, INT64)
        check_numbers("priorities", self.priorities, INT16)
        if self.states is not None:
            object.__setattr__(self, "states", _states(self.states))
        for name in ("metadata", "args"):
            _check_json(name, getattr(self, name))

    def where(self, sql: str, /, *named_args: Mapping[str, object], **more: object) -> Self:
        """These filters and a condition of your own on the columns of ``river_job``.

        Values are named: ``where("args->>'city' = @city", city="Rome")``. They may also be given as
        mappings, of which later ones win. The condition is put in parentheses, so that no OR inside
        it widens the other filters; several calls are joined by AND. Never build the SQL from text
        of a user: give it as a value. PostgreSQL infers each value's type, so it may need a cast:
        ``@day::text::date``.  Raises ``NamedArgError`` or ``InvalidParamsError``.
        """
        args: dict[str, object] = {}
        for mapping in (*named_args, more):
            args.update(mapping)
        return replace(self, predicates=(*self.predicates, Predicate(sql, args)))

    @property
    def is_empty(self) -> bool:
        """Whether no filter narrows the jobs."""
        given = (self.ids, self.kinds, self.priorities, self.queues, self.states, self.tags_any)
        return (
            all(values is None for values in given)
            and not self.tags_all
            # Every job contains the empty object.
            and not (self.metadata_json + self.args_json).strip("{} \t\r\n")
            and not self.predicates
        )

    @property
    def metadata_json(self) -> str:
        """The JSON text of ``metadata``; "{}" for none."""
        return _json_text("metadata", self.metadata)

    @property
    def args_json(self) -> str:
        """The JSON text of ``args``; "{}" for none."""
        return _json_text("args", self.args)


@dataclass(frozen=True, slots=True)
class Option:
    """Chosen lines of a statement, and the value of the position they use.

    name: what Go River calls the value; no predicate may use the name too.
    """

    lines: str
    position: int
    value: object
    name: str


def filter_options(filters: JobFilter) -> list[Option]:
    """The options of the fragment ``job_filters``."""
    options = [
        Option(lines, position, list(values), name)
        for lines, position, values, name in (
            ("ids", 2, filters.ids, "id"),
            ("kinds", 3, filters.kinds, "kind"),
            ("priorities", 4, filters.priorities, "priority"),
            ("queues", 5, filters.queues, "queue"),
            ("tags_all", 8, filters.tags_all, "tags_all"),
            ("tags_any", 9, filters.tags_any, "tags_any"),
        )
        if values is not None
    ]
    if filters.states is not None:
        states = [state.value for state in filters.states]
        if len(states) == 1:
            options.append(Option("state", 7, states[0], "state"))
        else:
            options.append(Option("states", 6, states, "state"))
    if filters.metadata is not None:
        options.append(Option("metadata", 10, filters.metadata_json, "metadata_fragment"))
    if filters.args is not None:
        options.append(Option("args", 11, filters.args_json, "args_fragment"))
    return options


def render(
    query: Statement,
    schema: str | None,
    *,
    options: Sequence[Option],
    lines: Sequence[str] = (),
    fixed: Mapping[int, object],
    predicates: Sequence[Predicate],
) -> tuple[str, list[object]]:
    """A statement's text with the chosen lines only, and its arguments.

    lines: chosen lines without a value of their own.  fixed: values of the positions that are
    always used.  Raises ``NamedArgError``.
    """
    chosen = frozenset((*(option.lines for option in options), *lines))
    text, positions = _select(query, schema, chosen)
    values = {**fixed, **{option.position: option.value for option in options}}
    reserved = {option.name for option in options}
    condition, more = bind_predicates(predicates, reserved=reserved, first=len(positions) + 1)
    arguments = [values[position] for position in positions]
    return text.replace(_WHERE, condition, 1), arguments + more


@lru_cache(maxsize=1024)
def _select(
    query: Statement, schema: str | None, chosen: frozenset[str]
) -> tuple[str, tuple[int, ...]]:
    """The text of the chosen lines, and the original number of each position left in it.

    Positions are numbered anew: PostgreSQL refuses gaps.
    """
    numbers: dict[str, int] = {}

    def keep(line: re.Match[str]) -> str:
        return line[0] if line[1] in chosen else ""

    def number(position: re.Match[str]) -> str:
        return f"${numbers.setdefault(position[1], len(numbers) + 1)}"

    text = _POSITION.sub(number, _OPTION.sub(keep, query.sql(schema)))
    return text, tuple(int(position) for position in numbers)


def check_limit(limit: int) -> None:
    """Refuse a number of rows River would refuse; raises ``InvalidParamsError``."""
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidParamsError("limit", f"limit must be between 1 and {MAX_LIMIT:,}")


def check_at_most(at_most: int | None) -> None:
    """Refuse a cap below one; raises ``InvalidParamsError``."""
    if at_most is not None and not 1 <= at_most < 2**63:
        raise InvalidParamsError("at_most", "at_most must be at least 1, or None to count all")


def check_texts(name: str, values: Sequence[str] | None) -> None:
    """Refuse what is no sequence of texts, and NUL; raises ``InvalidParamsError``."""
    if isinstance(values, str):
        raise InvalidParamsError(name, f"{name} must be a sequence of texts, not one text")
    if any("\x00" in value for value in values or ()):
        raise InvalidParamsError(name, f"{name} must not hold NUL characters")


def _states(values: Sequence[JobState]) -> tuple[JobState, ...]:
    try:
        return tuple(JobState(value) for value in values)
    except ValueError as error:
        raise InvalidParamsError("states", str(error)) from error


def check_json(name: str, text: str) -> Json:
    """The value of JSON text that PostgreSQL can store; raises ``InvalidParamsError``."""
    try:
        value = json.loads(text)
        # Python reads NaN, NUL and halves of characters, which no jsonb holds.
        encode_json(value, name)
    except (ValueError, RecursionError) as error:
        raise InvalidParamsError(
            name, f"{name} is not JSON PostgreSQL can store: {error}"
        ) from error
    return value


def _check_json(name: str, value: Mapping[str, Json] | str | None) -> None:
    if isinstance(value, str):
        check_json(name, value)
    elif value is not None:
        encode_json(value, name)


def _json_text(name: str, value: Mapping[str, Json] | str | None) -> str:
    if value is None:
        return "{}"
    return value if isinstance(value, str) else encode_json(value, name)


def check_numbers(name: str, values: Sequence[int] | None, allowed: range) -> None:
    """Refuse what does not fit the column; raises ``InvalidParamsError``."""
    for value in values or ():
        given: object = value
        is_number = isinstance(given, int) and not isinstance(given, bool)
        # Not "in": a range is walked through for all but plain integers.
        if not is_number or not allowed.start <= value < allowed.stop:
            raise InvalidParamsError(name, f"{name} must be whole numbers PostgreSQL can hold")
