"""Rewriting numbered placeholders: only those that are placeholders."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from riverengine.drivers.placeholders import named_arguments, named_placeholders
from riverengine.queries.statement import load_statements


@pytest.mark.parametrize(
    ("sql", "rewritten"),
    [
        ("SELECT $1, $2::text, $1", "SELECT %(p1)s, %(p2)s::text, %(p1)s"),
        ("$10::int+$1", "%(p10)s::int+%(p1)s"),
        ("a % b LIKE 'x%'", "a %% b LIKE 'x%%'"),
        ("'$1' || $1 || 'it''s $2'", "'$1' || %(p1)s || 'it''s $2'"),
        (r"E'\'$1' || $1", r"E'\'$1' || %(p1)s"),
        ('"$1 ""x""" = $1', '"$1 ""x""" = %(p1)s'),
        ("1 -- $1 %\n+ $1", "1 -- $1 %%\n+ %(p1)s"),
        ("/* $1 ' */ $1", "/* $1 ' */ %(p1)s"),
        ("$$ $1 % $$ || $1", "$$ $1 %% $$ || %(p1)s"),
        ("$a$ $1 $b$ $a$ || $1", "$a$ $1 $b$ $a$ || %(p1)s"),
        ("col$1 + $1", "col$1 + %(p1)s"),
        ("metadata ? 'key' AND $1", "metadata ? 'key' AND %(p1)s"),
    ],
)
def test_rewriting(sql: str, rewritten: str) -> None:
    assert named_placeholders(sql) == rewritten


def test_arguments_are_named_by_position() -> None:
    assert named_arguments(["a", None]) == {"p1": "a", "p2": None}


def test_every_placeholder_of_the_engine_is_rewritten() -> None:
    package = "riverengine.queries.sql"
    files = [e.name for e in resources.files(package).iterdir() if e.name.endswith(".sql")]
    assert len(files) > 5
    for file in files:
        for named in load_statements(package, file).values():
            rewritten = named_placeholders(named.sql("schema"))
            count = len(re.findall(r"\$[0-9]", named.text))
            assert rewritten.count("%(p") == count, named
            assert not re.search(r"\$[0-9]", rewritten), named
