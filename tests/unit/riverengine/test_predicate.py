"""Conditions of the caller's own: named arguments, and that nothing reaches beyond them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverengine import InvalidParamsError, JobFilter, NamedArgError
from riverengine.queries.predicate import Predicate, bind_predicates


def bound(*predicates: Predicate, reserved: tuple[str, ...] = ()) -> tuple[str, list[object]]:
    return bind_predicates(predicates, reserved=reserved, first=3)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("a = @x", "a = $3"),
        ("a=@x", "a=$3"),
        ("a = @x OR b = @x", "a = $3 OR b = $3"),
        ("a @> @x", "a @> $3"),
        ("a @>@x", "a @>$3"),
        ("a <@@x", "a <@$3"),
        ("a = @x::jsonb", "a = $3::jsonb"),
        ("a = '@y' AND b = @x", "a = '@y' AND b = $3"),
        ("a = 'it''s @y' AND b = @x", "a = 'it''s @y' AND b = $3"),
        (r"a = E'\'@y' AND b = @x", r"a = E'\'@y' AND b = $3"),
        (r"a = date'\' AND b = @x", r"a = date'\' AND b = $3"),
        ('"@y" = @x', '"@y" = $3'),
        ("a = $$@y ( $$ AND b = @x", "a = $$@y ( $$ AND b = $3"),
        ("a = $t$@y $$ ' $t$ AND b = @x", "a = $t$@y $$ ' $t$ AND b = $3"),
        ("a = @x -- and @y (", "a = $3 -- and @y ("),
        ("a = /* @y /* ' */ ( */ @x", "a = /* @y /* ' */ ( */ $3"),
        ("a <@array[@x]", "a <@array[$3]"),
        ("a @@to_tsquery(@x)", "a @@to_tsquery($3)"),
        ("a$1 = @x", "a$1 = $3"),
    ],
)
def test_names_become_positions_outside_of_strings_and_comments(sql: str, expected: str) -> None:
    assert bound(Predicate(sql, {"x": 1})) == (f"AND ({expected}\n)", [1])


def test_several_predicates_are_joined_by_and_and_share_their_names() -> None:
    text, values = bound(Predicate("a = @x", {"x": 1}), Predicate("b = @y OR c = @x", {"y": 2}))
    assert text == "AND (a = $3\n)\nAND (b = $4 OR c = $3\n)"
    assert values == [1, 2]


def test_a_longer_name_is_not_taken_for_a_shorter_one() -> None:
    text, values = bound(Predicate("a = @name AND b = @name_2", {"name": 1, "name_2": 2}))
    assert text == "AND (a = $3 AND b = $4\n)"
    assert values == [1, 2]


def test_a_value_the_sql_does_not_hold_is_refused_with_go_s_words() -> None:
    with pytest.raises(NamedArgError) as refusal:
        Predicate("a = @x", {"x": 1, "y": 2})
    assert refusal.value.name == "y"
    assert str(refusal.value) == 'expected "a = @x" to contain named arg symbol @y'
    with pytest.raises(NamedArgError):
        Predicate("a = '@x'", {"x": 1})


@pytest.mark.parametrize(
    "predicates",
    [
        (Predicate("a = @x", {"x": 1}), Predicate("b = @x", {"x": 2})),
        (Predicate("a = @kind", {"kind": 1}),),
    ],
)
def test_a_name_given_twice_is_refused_with_go_s_words(predicates: tuple[Predicate, ...]) -> None:
    with pytest.raises(NamedArgError) as refusal:
        bound(*predicates, reserved=("kind",))
    assert str(refusal.value) == f"named argument @{refusal.value.name} already registered"


def test_a_name_without_a_value_is_refused() -> None:
    # PostgreSQL would read it as the absolute value of the column, which fits every job.
    with pytest.raises(NamedArgError) as refusal:
        bound(Predicate("priority = @priority"))
    assert refusal.value.name == "priority"


@pytest.mark.parametrize(
    "sql",
    ["a = 1) OR (TRUE", "(a = 1", "a = 'x", 'a = "x', "a = 1 /* ", "a = $q$x", "a = $1", "a)("],
)
def test_sql_that_is_not_one_whole_condition_is_refused(sql: str) -> None:
    with pytest.raises(InvalidParamsError) as refusal:
        Predicate(sql)
    assert refusal.value.parameter == "where"


def test_where_takes_mappings_of_which_later_ones_win() -> None:
    filters = JobFilter().where("a = @x AND b = @y", {"x": 1, "y": 1}, {"y": 2}, x=3)
    assert filters.predicates == (Predicate("a = @x AND b = @y", {"x": 3, "y": 2}),)


PIECES = st.sampled_from(
    ["a", " ", "(", ")", "'", '"', "--", "\n", "/*", "*/", "$", "$q$", "E'", "\\", "@x", "OR TRUE"]
)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_no_text_is_accepted_that_closes_the_parenthesis_around_it(sql: str) -> None:
    """What is accepted leaves the parenthesis open until the one that is added."""
    try:
        predicate = Predicate(sql)
        text, _ = bound(predicate)
    except InvalidParamsError:
        return
    # The closing parenthesis, on its line, must be seen as one: never inside a comment or string.
    Predicate(text.removeprefix("AND ").replace("$3", "1"))
    with pytest.raises(InvalidParamsError):
        Predicate(text.removeprefix("AND ").removesuffix(")"))
