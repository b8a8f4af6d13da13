"""Traces and metrics of inserts and work, by OpenTelemetry.

Names, attributes and units are those of rivercontrib's otelriver v0.12.0, so that dashboards serve
Go and Python clients alike. Needs ``opentelemetry-api``: install ``riverjobs[opentelemetry]``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Literal

from opentelemetry import context as otel_context
from opentelemetry import metrics, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from riverengine.insert.plan import InsertPlan
from riverengine.types.job import JobRow
from riverengine.types.metric import JobGetAvailableDurationMetric, Metric
from riverengine.types.signals import JobCancel, JobSnooze
from riverengine.work.go_json import format_time
from riverengine.work.middleware import InsertNext, InsertResults, WorkNext
from riverengine.work.outcome import error_chain, error_text

_NAME = "riverengine.contrib.opentelemetry"
_SYSTEM: Mapping[str, AttributeValue] = {"messaging.system": "river"}


class OpenTelemetry:
    """A plugin: ``Config(plugins=[OpenTelemetry()])``.

    Spans ``river.insert_many`` (producer) and ``river.work`` (consumer); metrics ``river.*``.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        duration_unit: Literal["s", "ms"] = "s",
        semantic_metrics: bool = False,
        trace_propagation: bool = False,
        kind_in_span_names: bool = False,
    ) -> None:
        """tracer_provider, meter_provider: None for the process's.  semantic_metrics: also the
        metrics of OpenTelemetry's conventions for messaging.  trace_propagation: keep the inserting
        span in the job's metadata (``traceparent``), and link to it from the span of the work.
        kind_in_span_names: ``river.work/KIND``.
        """
        self._tracer = trace.get_tracer(_NAME, tracer_provider=tracer_provider)
        self._scale = 1000.0 if duration_unit == "ms" else 1.0
        self._propagator = TraceContextTextMapPropagator() if trace_propagation else None
        self._kind_in_span_names = kind_in_span_names
        meter = metrics.get_meter(_NAME, meter_provider=meter_provider)
        unit = duration_unit
        self._insert_count = meter.create_counter("river.insert_count", "{job}")
        self._insert_many_count = meter.create_counter("river.insert_many_count", "{job_batch}")
        self._insert_many_duration = meter.create_gauge("river.insert_many_duration", unit)
        self._insert_many_histogram = meter.create_histogram(
            "river.insert_many_duration_histogram", unit
        )
        self._work_count = meter.create_counter("river.work_count", "{job}")
        self._work_duration = meter.create_gauge("river.work_duration", unit)
        self._work_histogram = meter.create_histogram("river.work_duration_histogram", unit)
        self._fetch_duration = meter.create_histogram("river.job_get_available_duration", unit)
        self._fetch_count = meter.create_histogram("river.job_get_available_count", "{job}")
        self._semantic = _SemanticMetrics(meter) if semantic_metrics else None

    async def insert_many(self, plans: Sequence[InsertPlan], next_: InsertNext) -> InsertResults:
        """A span and metrics around an insert."""
        began = time.monotonic()
        results: InsertResults = ()
        error: BaseException | None = None
        with self._tracer.start_as_current_span(
            "river.insert_many",
            kind=trace.SpanKind.PRODUCER,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                results = await next_(self._with_trace(plans))
                return results
            except BaseException as raised:
                error = raised
                raise
            finally:
                self._inserted(span, plans, results, error, time.monotonic() - began)

    async def work(self, job: JobRow, next_: WorkNext) -> None:
        """A span and metrics around the work of a job."""
        began = time.monotonic()
        error: BaseException | None = None
        with self._tracer.start_as_current_span(
            f"river.work/{job.kind}" if self._kind_in_span_names else "river.work",
            kind=trace.SpanKind.CONSUMER,
            links=self._links(job),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                await next_()
            except BaseException as raised:
                error = raised
                raise
            finally:
                self._worked(span, job, error, time.monotonic() - began)

    def metric_emit(self, metric: Metric) -> None:
        """Record what a fetch took and brought."""
        attributes = {"queue": metric.queue}
        if isinstance(metric, JobGetAvailableDurationMetric):
            self._fetch_duration.record(metric.duration.total_seconds() * self._scale, attributes)
        else:
            self._fetch_count.record(metric.count, attributes)

    def _inserted(
        self,
        span: trace.Span,
        plans: Sequence[InsertPlan],
        results: InsertResults,
        error: BaseException | None,
        seconds: float,
    ) -> None:
        status = {"status": _set_status(span, error)}
        skipped = sum(
            1 for result in results if result is not None and result.unique_skipped_as_duplicate
        )
        span.set_attributes(
            {
                **status,
                "kinds": sorted({plan.kind for plan in plans}),
                "unique_skipped_as_duplicate_count": skipped,
            }
        )
        for number, was_skipped in ((len(plans) - skipped, False), (skipped, True)):
            if number:
                self._insert_count.add(
                    number, {**status, "unique_skipped_as_duplicate": was_skipped}
                )
        self._insert_many_count.add(1, status)
        self._insert_many_duration.set(seconds * self._scale, status)
        self._insert_many_histogram.record(seconds * self._scale, status)
        if self._semantic is not None:
            self._semantic.inserted(len(plans), seconds)

    def _worked(
        self, span: trace.Span, job: JobRow, error: BaseException | None, seconds: float
    ) -> None:
        attributes: dict[str, AttributeValue] = {
            "attempt": job.attempt,
            "kind": job.kind,
            "priority": job.priority,
            "queue": job.queue,
            "status": _set_status(span, error),
            "tag": list(job.tags),
        }
        snoozed: timedelta | None = None
        for each in error_chain(error) if error is not None else ():
            if isinstance(each, JobCancel):
                attributes["cancel"] = True
                break
            if isinstance(each, JobSnooze):
                attributes["snooze"] = True
                snoozed = each.duration
                break
        span.set_attributes(
            {
                **attributes,
                "id": job.id,
                "created_at": format_time(job.created_at),
                "scheduled_at": format_time(job.scheduled_at),
            }
        )
        if snoozed is not None:
            span.set_attribute("snooze.duration", f"{snoozed.total_seconds():g}s")
        self._work_count.add(1, attributes)
        self._work_duration.set(seconds * self._scale, attributes)
        self._work_histogram.record(seconds * self._scale, attributes)
        if self._semantic is not None:
            self._semantic.worked(seconds)

    def _with_trace(self, plans: Sequence[InsertPlan]) -> Sequence[InsertPlan]:
        if self._propagator is None:
            return plans
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return [plan.with_metadata(carrier) for plan in plans] if carrier else plans

    def _links(self, job: JobRow) -> Sequence[trace.Link]:
        if self._propagator is None or "traceparent" not in job.metadata_json:
            return ()
        carrier = {key: value for key, value in job.metadata.items() if isinstance(value, str)}
        # A job may be worked days after its insert: a link, where a parent would be misleading.
        found = self._propagator.extract(carrier, context=otel_context.Context())
        inserting = trace.get_current_span(found).get_span_context()
        return [trace.Link(inserting)] if inserting.is_valid else ()


class _SemanticMetrics:
    """OpenTelemetry's metrics for messaging clients."""

    def __init__(self, meter: metrics.Meter) -> None:
        self._consumed = meter.create_counter("messaging.client.consumed.messages")
        self._operation = meter.create_histogram("messaging.client.operation.duration", "s")
        self._sent = meter.create_counter("messaging.client.sent.messages")
        self._process = meter.create_histogram("messaging.process.duration", "s")

    def inserted(self, number: int, seconds: float) -> None:
        attributes = {"messaging.operation.name": "insert_many", **_SYSTEM}
        self._operation.record(seconds, attributes)
        self._sent.add(number, attributes)

    def worked(self, seconds: float) -> None:
        attributes = {"messaging.operation.name": "work", **_SYSTEM}
        self._consumed.add(1, attributes)
        self._operation.record(seconds, attributes)
        self._process.record(seconds, attributes)


def _set_status(span: trace.Span, error: BaseException | None) -> str:
    """Set the span's status, and name it; a snooze is no failure."""
    if error is None or any(isinstance(each, JobSnooze) for each in error_chain(error)):
        span.set_status(trace.StatusCode.OK)
        return "ok"
    span.set_status(trace.StatusCode.ERROR, error_text(error))
    return "error"
