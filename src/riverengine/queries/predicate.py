"""Conditions of the caller's own, with named arguments.

Source: job_list_params.go (Where) and dblist/db_list.go at v0.51.1: an argument ``x`` stands in the
SQL as ``@x``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from riverengine.types.errors import InvalidParamsError, NamedArgError

_TOKEN = re.compile(
    r"""
      --[^\n]*
    | (?P<comment>/\*)
    | (?<![\w$])[eE]'(?:[^'\\]|''|\\.)*'
    | '(?:[^']|'')*'
    | "(?:[^"]|"")*"
    | (?<![\w$])\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$
    | (?P<position>(?<![\w$])\$\d+)
    | @(?P<name>[^\W\d]\w*)
    | (?P<bracket>[()])
    | (?P<open>['"]|(?<![\w$])\$(?:[^\W\d]\w*)?\$)
    """,
    re.DOTALL | re.VERBOSE,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_OPERATOR = frozenset("+-*/<>=~!@#%^&|`?")


@dataclass(frozen=True)
class Predicate:
    """A condition in SQL, and the values of its ``@names``; checked when made.

    Raises ``NamedArgError`` for a value whose name the SQL does not hold, ``InvalidParamsError``
    for SQL that is not one whole condition: open quotes, comments or parentheses, or ``$1``.
    """

    sql: str
    args: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = {name for _, _, name in _names(self.sql)}
        for name in self.args:
            if name not in names:
                raise NamedArgError(
                    name, f'expected "{self.sql}" to contain named arg symbol @{name}'
                )


def bind_predicates(
    predicates: Sequence[Predicate], *, reserved: Collection[str], first: int
) -> tuple[str, list[object]]:
    """The conditions as lines ``AND (...)``, their names numbered from ``first``, and the values.

    reserved: names the other filters take, as in Go River.  Raises ``NamedArgError`` for a name
    given twice, and for one that is used but given by no predicate.
    """
    values: dict[str, object] = {}
    for predicate in predicates:
        for name, value in predicate.args.items():
            if name in values or name in reserved:
                raise NamedArgError(name, f"named argument @{name} already registered")
            values[name] = value
    numbers = {name: first + index for index, name in enumerate(values)}
    # The closing parenthesis has its own line: a trailing -- comment does not reach it.
    lines = [f"AND ({_numbered(predicate.sql, numbers)}\n)" for predicate in predicates]
    return "\n".join(lines), list(values.values())


def _numbered(sql: str, numbers: Mapping[str, int]) -> str:
    parts = []
    end = 0
    for start, stop, name in _names(sql):
        if name in numbers:
            parts += [sql[end:start], f"${numbers[name]}"]
            end = stop
        elif start == 0 or sql[start - 1] not in _OPERATOR:
            # Left as it is, PostgreSQL would read @x as the absolute value of a column x.
            raise NamedArgError(name, f"named argument @{name} is used, but not given")
    return "".join(parts) + sql[end:]


def _names(sql: str) -> list[tuple[int, int, str]]:
    """Start, end and name of every ``@name`` outside of strings and comments."""
    found = []
    depth = position = 0
    while (match := _TOKEN.search(sql, position)) is not None:
        position = match.end()
        if match["comment"]:
            position = _end_of_comment(sql, position)
        elif match["position"]:
            raise InvalidParamsError("where", f"{match['position']}: arguments are named, as @name")
        elif match["open"]:
            raise InvalidParamsError("where", f"{match['open']} is opened, but never closed")
        elif match["name"]:
            found.append((match.start(), match.end(), match["name"]))
        elif match["bracket"]:
            depth += 1 if match["bracket"] == "(" else -1
            if depth < 0:
                break
    if depth:
        raise InvalidParamsError("where", "parentheses do not match")
    return found


def _end_of_comment(sql: str, position: int) -> int:
    # PostgreSQL's comments nest.
    depth = 1
    while depth:
        edge = _COMMENT_EDGE.search(sql, position)
        if edge is None:
            raise InvalidParamsError("where", "/* is opened, but never closed")
        depth += 1 if edge[0] == "/*" else -1
        position = edge.end()
    return position
