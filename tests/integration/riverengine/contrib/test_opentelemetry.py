"""Spans and metrics of inserts and work, with the names of rivercontrib's otelriver."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from riverengine import (
    Client,
    Config,
    HookInsertBeginFunc,
    InsertOpts,
    InsertPlan,
    Job,
    JobCancel,
    JobSnooze,
    UniqueOpts,
)
from riverengine.contrib.opentelemetry import OpenTelemetry
from tests.integration.riverengine.working import NoteArgs, NoteWorker, ended, started


class Telemetry:
    """Providers that keep what they are given."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])

    def plugin(self, **options: Any) -> OpenTelemetry:
        return OpenTelemetry(tracer_provider=self.tracers, meter_provider=self.meters, **options)

    def span(self, name: str) -> ReadableSpan:
        (found,) = [each for each in self.exporter.get_finished_spans() if each.name == name]
        return found

    def points(self) -> dict[str, list[Any]]:
        """The data points by metric."""
        data = self.reader.get_metrics_data()
        assert data is not None
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    made = Telemetry()
    yield made
    made.tracers.shutdown()
    made.meters.shutdown()


async def _worked(
    pool: asyncpg.Pool, telemetry: Telemetry, error: BaseException | None = None, **options: Any
) -> None:
    """Insert and work one job that ends with ``error``."""

    async def run(job: Job[NoteArgs]) -> None:
        assert trace.get_current_span().is_recording()
        if error is not None:
            raise error

    working = started(pool, NoteWorker(run), plugins=[telemetry.plugin(**options)])
    async with working as client, client.subscribe() as events:
        await client.insert(NoteArgs(), InsertOpts(tags=["abc"], max_attempts=1))
        await ended(events)


async def test_an_insert_and_its_work_have_spans(pool: asyncpg.Pool, telemetry: Telemetry) -> None:
    await _worked(pool, telemetry)
    insert, work = telemetry.span("river.insert_many"), telemetry.span("river.work")
    assert (insert.kind, work.kind) == (trace.SpanKind.PRODUCER, trace.SpanKind.CONSUMER)
    assert dict(insert.attributes or {}) == {
        "status": "ok",
        "kinds": ("note",),
        "unique_skipped_as_duplicate_count": 0,
    }
    attributes = dict(work.attributes or {})
    assert attributes.pop("id")
    assert attributes.pop("created_at")
    assert attributes.pop("scheduled_at")
    assert attributes == {
        "attempt": 1,
        "kind": "note",
        "priority": 1,
        "queue": "default",
        "status": "ok",
        "tag": ("abc",),
    }
    assert work.status.status_code is trace.StatusCode.OK


async def test_metrics_have_otelriver_s_names(pool: asyncpg.Pool, telemetry: Telemetry) -> None:
    await _worked(pool, telemetry, semantic_metrics=True)
    points = telemetry.points()
    assert points.keys() == {
        "river.insert_count",
        "river.insert_many_count",
        "river.insert_many_duration",
        "river.insert_many_duration_histogram",
        "river.job_get_available_count",
        "river.job_get_available_duration",
        "river.work_count",
        "river.work_duration",
        "river.work_duration_histogram",
        "messaging.client.consumed.messages",
        "messaging.client.operation.duration",
        "messaging.client.sent.messages",
        "messaging.process.duration",
    }
    (inserted,) = points["river.insert_count"]
    assert (inserted.value, dict(inserted.attributes)) == (
        1,
        {"status": "ok", "unique_skipped_as_duplicate": False},
    )
    (fetched,) = points["river.job_get_available_count"]
    assert (fetched.sum, dict(fetched.attributes)) == (1, {"queue": "default"})
    (worked,) = points["river.work_count"]
    assert worked.value == 1
    assert worked.attributes["kind"] == "note"


@pytest.mark.parametrize(
    ("error", "status", "extra"),
    [
        (ValueError("no"), "error", {}),
        (JobCancel("no use"), "error", {"cancel": True}),
        (JobSnooze(timedelta(seconds=90)), "ok", {"snooze": True, "snooze.duration": "90s"}),
    ],
    ids=["error", "cancel", "snooze"],
)
async def test_a_span_tells_how_the_work_ended(
    pool: asyncpg.Pool,
    telemetry: Telemetry,
    error: BaseException,
    status: str,
    extra: dict[str, object],
) -> None:
    await _worked(pool, telemetry, error)
    attributes = dict(telemetry.span("river.work").attributes or {})
    assert attributes["status"] == status
    assert {key: attributes.get(key) for key in extra} == extra
    code = telemetry.span("river.work").status
    assert (code.status_code is trace.StatusCode.OK) == (status == "ok")
    if isinstance(error, ValueError):
        assert code.description == "ValueError: no"


async def test_work_is_linked_to_the_span_that_inserted_it(
    pool: asyncpg.Pool, telemetry: Telemetry
) -> None:
    await _worked(pool, telemetry, trace_propagation=True, kind_in_span_names=True)
    insert, work = telemetry.span("river.insert_many"), telemetry.span("river.work/note")
    assert insert.context is not None
    assert [link.context.span_id for link in work.links] == [insert.context.span_id]
    assert work.parent is None
    assert "traceparent" in await pool.fetchval("SELECT metadata FROM river_job")


async def test_skipped_duplicates_are_counted_apart(
    pool: asyncpg.Pool, telemetry: Telemetry
) -> None:
    working = started(pool, NoteWorker(), plugins=[telemetry.plugin(duration_unit="ms")])
    async with working as client:
        for _ in range(2):
            await client.insert(NoteArgs(), InsertOpts(unique_opts=UniqueOpts(by_args=True)))
    counts = {
        point.attributes["unique_skipped_as_duplicate"]: point.value
        for point in telemetry.points()["river.insert_count"]
    }
    assert counts == {False: 1, True: 1}


async def test_a_refused_insert_is_an_error(pool: asyncpg.Pool, telemetry: Telemetry) -> None:
    @HookInsertBeginFunc
    def refuse(params: InsertPlan) -> None:
        raise ValueError("not this one")

    client = Client(pool, Config(plugins=[telemetry.plugin(), refuse]))
    with pytest.raises(ValueError, match="not this one"):
        await client.insert(NoteArgs())
    status = telemetry.span("river.insert_many").status
    assert status.status_code is trace.StatusCode.ERROR
    assert status.description == "ValueError: not this one"
