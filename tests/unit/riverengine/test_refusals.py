"""Which refusals of PostgreSQL are a row's, and how often the others are tried again."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import asyncpg
import pytest

from riverengine.run import refusals
from riverengine.run.refusals import TRIES, Suspicion, Verdict, by_halves, verdict_of
from riverengine.types.errors import AmbiguousCommitError


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (asyncpg.UntranslatableCharacterError("no"), Verdict.NEVER),
        (asyncpg.CheckViolationError("no"), Verdict.NEVER),
        (asyncpg.WithCheckOptionViolationError("no"), Verdict.NEVER),
        (asyncpg.ProgramLimitExceededError("no"), Verdict.NEVER),
        (asyncpg.RaiseError("no"), Verdict.NEVER),
        (asyncpg.ConnectionDoesNotExistError("no"), Verdict.LATER),
        (asyncpg.ReadOnlySQLTransactionError("no"), Verdict.LATER),
        (asyncpg.DeadlockDetectedError("no"), Verdict.LATER),
        (asyncpg.TooManyConnectionsError("no"), Verdict.LATER),
        (asyncpg.LockNotAvailableError("no"), Verdict.LATER),
        (asyncpg.QueryCanceledError("no"), Verdict.LATER),
        (asyncpg.PostgresIOError("no"), Verdict.LATER),
        (asyncpg.InvalidSQLStatementNameError("no"), Verdict.LATER),
        (asyncpg.UndefinedColumnError("no"), Verdict.UNKNOWN),
        (asyncpg.InsufficientPrivilegeError("no"), Verdict.UNKNOWN),
        (asyncpg.InternalServerError("no"), Verdict.UNKNOWN),
        (asyncpg.InterfaceError("no"), Verdict.LATER),
        (AmbiguousCommitError(), Verdict.LATER),
        (TimeoutError(), Verdict.LATER),
        (ConnectionResetError(), Verdict.LATER),
    ],
    ids=lambda given: type(given).__name__ if isinstance(given, Exception) else given.value,
)
def test_the_verdict_follows_the_class_of_the_sqlstate(error: Exception, verdict: Verdict) -> None:
    assert verdict_of(error) is verdict


def test_the_tries_end_after_a_minute_and_a_half_where_others_are_written() -> None:
    suspicion, now, tries = Suspicion(), 0.0, 1
    while not suspicion.refused(written=tries, ending=False, now=now, scale=1.0):
        assert now < suspicion.due <= now + 16
        now, tries = suspicion.due, tries + 1
    assert tries == TRIES
    assert 90 <= now <= 100


def test_no_try_counts_while_nothing_is_written_until_the_end() -> None:
    suspicion = Suspicion()
    assert not any(
        suspicion.refused(written=7, ending=False, now=0.0, scale=1.0) for _ in range(100)
    )
    assert suspicion.refusals == 1
    ends = [suspicion.refused(written=7, ending=True, now=0.0, scale=1.0) for _ in range(TRIES - 1)]
    assert ends == [False] * (TRIES - 2) + [True]
    # Whoever ends a process waits half a minute, and kills it then.
    assert suspicion.due <= 1.0


async def test_searches_that_end_early_reach_every_row_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The refused ones come first, and are too many for one search."""
    left = [*range(128)]

    async def change(part: Sequence[int]) -> None:
        if min(part) < 64:
            raise asyncpg.CheckViolationError("no")
        for each in part:
            left.remove(each)

    monkeypatch.setattr(refusals, "SEARCH_SECONDS", 20.0)
    seconds = itertools.count()
    for _ in range(1_000):
        with monkeypatch.context() as patch:
            patch.setattr(asyncio.get_running_loop(), "time", lambda: float(next(seconds)))
            await by_halves(list(left), change)
    assert left == [*range(64)]
