"""``v1consortium river_worker``: works the queues until told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated, Literal

import typer

from riverengine import ConfigError, QueueConfig, StopTimeoutError
from riverengine.embedded import start_postgres
from riverengine.insert.plan import validate_queue_name
from riverjobs import DEFAULT_QUEUES, Config, RiverManager, WorkflowOrchestrator
from v1consortium.cli.processes import ProcessGroup
from v1consortium.cli.session import EMBEDDED_FOLDER, EXIT_FAILED, UsageError, database_url, run
from v1consortium.logs import LEVELS, set_up_logs
from v1consortium.metrics import WorkerMetrics
from v1consortium.migrations import check_schema, migrate
from v1consortium.providers import build_providers, unconfigured
from v1consortium.settings import Settings, masked_url, read_settings
from v1consortium.wiring import register_river_workers

_HARD_STOP = timedelta(seconds=5)

logger = logging.getLogger("v1consortium")


def river_worker(
    queue: Annotated[
        list[str] | None,
        typer.Option("--queue", metavar="NAME=N", help="work this queue, N jobs at a time"),
    ] = None,
    worker_id: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="NAME",
            help="a name that stays over restarts: the process takes back its own jobs at once",
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, max=256, help="so many worker processes under one parent")
    ] = 1,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="use a PostgreSQL of this application's own")
    ] = False,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="serve Prometheus metrics; more processes, more ports"),
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error")] = None,
    log_format: Annotated[str | None, typer.Option(help="console or json")] = None,
) -> None:
    """Work the queues until SIGTERM or SIGINT.

    Without --queue: default 100, critical 50, scheduled 25, notification 25, external 10. The first
    signal lets running jobs end for WORKER_GRACE seconds, then gives them back; a second one gives
    them back at once.

    Example: v1consortium river_worker --queue critical=50 --queue external=10 --id worker-1
    """

    async def command() -> int:
        settings = read_settings()
        form = _format(log_format or settings.log_format)
        set_up_logs(_level(log_level or settings.log_level), form)
        queues = parse_queues(queue or [])
        if processes > 1:
            return await _run_processes(processes, queues, worker_id, embedded, form, metrics_port)
        if not embedded:
            with database_url(settings) as url:
                return await work(settings, url, queues, worker_id, metrics_port)
        with start_postgres(EMBEDDED_FOLDER.absolute(), durable=True) as server:
            await migrate(server.url, schema=settings.river_schema)
            logger.info("embedded database", extra={"fields": {"url": server.url}})
            return await work(settings, server.url, queues, worker_id, metrics_port)

    code = run(command)
    if code:
        raise typer.Exit(code)


async def _run_processes(
    number: int,
    queues: dict[str, int],
    worker_id: str | None,
    embedded: bool,
    form: str,
    metrics_port: int | None,
) -> int:
    """Each process works all queues; names get the process's number, ports count up."""
    if embedded:
        raise UsageError("--processes: start the database apart, one cannot be embedded in many")
    shared = [f"--queue={name}={limit}" for name, limit in queues.items()]
    shared += [f"--log-format={form}"]
    arguments = []
    for place in range(number):
        own = [f"--id={worker_id}-{place + 1}"] if worker_id else []
        own += [f"--metrics-port={metrics_port + place}"] if metrics_port else []
        arguments.append([*shared, *own])
    return await ProcessGroup(arguments).run()


def parse_queues(options: Sequence[str]) -> dict[str, int]:
    """Queues of ``NAME=N`` options, the defaults without any; raises ``UsageError``."""
    if not options:
        return dict(DEFAULT_QUEUES)
    queues: dict[str, int] = {}
    for option in options:
        name, equals, number = option.partition("=")
        try:
            validate_queue_name(name)
        except ValueError as error:
            raise UsageError(f"--queue {option}: {error}") from None
        if not equals or not number.isascii() or not number.isdigit():
            raise UsageError(f"--queue {option}: write NAME=N, such as {name}=10")
        if len(number) > 5 or not 1 <= int(number) <= 10_000:
            raise UsageError(f"--queue {option}: N must be between 1 and 10000")
        if name in queues:
            raise UsageError(f"--queue {name} is given twice")
        queues[name] = int(number)
    return queues


async def work(
    settings: Settings,
    url: str,
    queues: dict[str, int],
    worker_id: str | None,
    metrics_port: int | None = None,
) -> int:
    """Work until a signal; returns the exit code."""
    providers = build_providers(settings)
    manager = RiverManager(
        Config(
            database_url=url,
            queues={name: QueueConfig(max_workers=number) for name, number in queues.items()},
            poll_interval=timedelta(seconds=settings.worker_poll_interval_s),
            schema=settings.river_schema,
            client_id=worker_id,
        ),
        logger=logger,
    )
    orchestrator = register_river_workers(manager, settings, providers, logger=logger)
    signals = _listen_for_signals()
    try:
        await manager.open()
        try:
            await check_schema(manager.pool)
            await manager.start()
        except BaseException:
            await manager.stop()
            raise
        async with _metrics(orchestrator, metrics_port):
            _tell_start(settings, url, queues, manager)
            await signals.get()
            return await _stop(manager, settings, signals)
    finally:
        await providers.aclose()


@asynccontextmanager
async def _metrics(orchestrator: WorkflowOrchestrator, port: int | None) -> AsyncIterator[None]:
    """Serve metrics meanwhile, if a port is given."""
    if port is None:
        yield
        return
    task = asyncio.create_task(WorkerMetrics(orchestrator, logger=logger).run(port))
    task.add_done_callback(_tell_metrics_end)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


def _tell_metrics_end(task: asyncio.Task[None]) -> None:
    # Jobs matter more than their figures: the worker goes on without them.
    if not task.cancelled() and task.exception() is not None:
        logger.error(
            "metrics are not served", extra={"fields": {"error_type": str(task.exception())}}
        )


async def _stop(manager: RiverManager, settings: Settings, signals: asyncio.Queue[int]) -> int:
    grace = timedelta(seconds=settings.worker_grace)
    running = manager.client.running
    logger.info(
        "stopping", extra={"fields": {"running": running, "grace_s": settings.worker_grace}}
    )
    soft = asyncio.create_task(manager.stop(timeout=grace))
    again = asyncio.create_task(signals.get())
    await asyncio.wait({soft, again}, return_when=asyncio.FIRST_COMPLETED)
    again.cancel()
    try:
        if soft.done():
            soft.result()
            logger.info("stopped", extra={"fields": {"interrupted": 0}})
            return 0
    except StopTimeoutError:
        logger.warning("the grace time is over")
    left = manager.client.running
    hard = asyncio.create_task(manager.stop_and_cancel(timeout=_HARD_STOP))
    await asyncio.wait({soft, hard})
    soft.exception()
    try:
        hard.result()
    except StopTimeoutError as error:
        logger.error("jobs ignore the stop", extra={"fields": {"running": error.running}})
        return EXIT_FAILED
    logger.info("stopped", extra={"fields": {"interrupted": left}})
    return 0


def _listen_for_signals() -> asyncio.Queue[int]:
    signals: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    return signals


def _tell_start(
    settings: Settings, url: str, queues: dict[str, int], manager: RiverManager
) -> None:
    logger.info(
        "river_worker started",
        extra={
            "fields": {
                "client_id": manager.client.id,
                "pid": os.getpid(),
                "database": masked_url(url),
                "queues": queues,
            }
        },
    )
    for provider, variables in unconfigured(settings).items():
        logger.warning(
            "a provider is not configured: its steps will fail",
            extra={"fields": {"provider": provider, "set": list(variables)}},
        )


def _level(given: str) -> str:
    if given.lower() not in LEVELS:
        raise ConfigError("--log-level", f"must be one of {', '.join(LEVELS)}")
    return given.lower()


def _format(given: str) -> Literal["console", "json"]:
    match given.lower():
        case "console":
            return "console"
        case "json":
            return "json"
    raise ConfigError("--log-format", "must be console or json")
