"""Numbered placeholders as named ones, for libraries that do not read PostgreSQL's own.

PostgreSQL, asyncpg and psycopg's raw cursors read ``$1``; Django's and SQLAlchemy's psycopg cursors
read ``%(p1)s`` and take ``%%`` for a per cent sign.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

_TOKEN = re.compile(
    r"""
      (?P<placeholder> (?<![\w$]) \$ (?P<number>[0-9]+) )
    | (?P<percent> % )
    | -- [^\n]*
    | /\* .*? \*/
    | [eE]' (?: [^'\\] | '' | \\. )* '
    | ' (?: [^'] | '' )* '
    | " (?: [^"] | "" )* "
    | (?<![\w$]) (?P<dollars> \$ (?:[^\W\d]\w*)? \$ ) .*? (?P=dollars)
    """,
    re.VERBOSE | re.DOTALL,
)


@lru_cache(maxsize=512)
def named_placeholders(sql: str) -> str:
    """The statement with ``$n`` as ``%(pn)s``; literals and comments keep their text.

    A per cent sign is doubled everywhere, since these libraries look for theirs even in literals.
    """
    return _TOKEN.sub(_rewrite, sql)


def named_arguments(args: Sequence[object]) -> dict[str, object]:
    """The arguments by the names :func:`named_placeholders` gives them."""
    return {f"p{number}": value for number, value in enumerate(args, 1)}


def _rewrite(match: re.Match[str]) -> str:
    if match["placeholder"]:
        return f"%(p{match['number']})s"
    return match.group().replace("%", "%%")
