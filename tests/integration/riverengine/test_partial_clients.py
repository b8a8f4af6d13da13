"""Clients of a mixed fleet: they fetch the kinds they know, and leave leading to others."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import asyncpg
import pytest

from riverengine import (
    Client,
    Config,
    ConfigError,
    InsertOpts,
    Job,
    JobState,
    PeriodicInterval,
    PeriodicJob,
    QueueConfig,
    Worker,
)
from tests.integration.riverengine.working import (
    NoteArgs,
    NoteWorker,
    ended,
    heard,
    started,
    stored,
)


@dataclass(frozen=True)
class ForeignArgs:
    kind: ClassVar[str] = "foreign"


@dataclass(frozen=True)
class RenamedArgs:
    kind: ClassVar[str] = "renamed"
    kind_aliases: ClassVar[tuple[str, ...]] = ("foreign_before",)


@dataclass(frozen=True)
class BeforeArgs:
    kind: ClassVar[str] = "foreign_before"


class RenamedWorker(Worker[RenamedArgs]):
    async def work(self, job: Job[RenamedArgs]) -> None:
        return None


async def test_kinds_unknown_to_a_client_are_left_to_others(pool: asyncpg.Pool) -> None:
    inserter = Client(pool)
    # The foreign job is the most urgent: it must not even be looked at.
    foreign = (await inserter.insert(ForeignArgs(), InsertOpts(priority=1))).job
    known = (await inserter.insert(NoteArgs(), InsertOpts(priority=4))).job
    alias = (await inserter.insert(BeforeArgs(), InsertOpts(priority=4))).job
    async with heard(
        pool,
        NoteWorker(),
        RenamedWorker(),
        queues={"default": QueueConfig(max_workers=1)},
        fetch_only_known_kinds=True,
    ) as (_, events):
        done = await ended(events, 2)
    assert {event.job.id for event in done if event.job is not None} == {known.id, alias.id}
    left = await stored(pool, foreign.id)
    assert (left.state, left.attempt, left.attempted_by) == (JobState.AVAILABLE, 0, ())


async def test_a_client_that_may_not_lead_works_and_never_leads(pool: asyncpg.Pool) -> None:
    async with (
        started(pool, NoteWorker(), leader_election_disabled=True) as client,
        client.subscribe() as events,
    ):
        await client.insert(NoteArgs())
        await ended(events)
        assert not client.is_leader
        assert await pool.fetchval("SELECT count(*) FROM river_leader") == 0
        # Nobody leads, so nobody makes a scheduled job available.
        later = await client.insert(
            NoteArgs(), InsertOpts(scheduled_at=client.clock.now() - timedelta(hours=1))
        )
        assert (await stored(pool, later.job.id)).state is JobState.SCHEDULED


def test_periodic_jobs_need_a_client_that_may_lead(pool: asyncpg.Pool) -> None:
    job = PeriodicJob(PeriodicInterval(timedelta(hours=1)), lambda: (NoteArgs(), None))
    with pytest.raises(ConfigError) as refused:
        Client(pool, Config(leader_election_disabled=True), periodic_jobs=[job])
    assert refused.value.setting == "periodic_jobs"
