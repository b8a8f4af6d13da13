"""``v1consortium doctor``: finds what keeps workers or jobs from running, and says what to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from riverengine import DatabaseUnavailableError, JobListParams, JobState, SortOrder
from riverengine.queries.leader import leader_get
from riverjobs import DEFAULT_QUEUES, monitor
from riverjobs.queries.queue_depth import queue_depths
from v1consortium.cli.output import print_json
from v1consortium.cli.session import (
    EXIT_FAILED,
    EXIT_UNREACHABLE,
    Session,
    database_url,
    opened,
    run,
)
from v1consortium.migrations import pending
from v1consortium.providers import unconfigured
from v1consortium.queries.facility import facility_count
from v1consortium.settings import Settings, masked_url, read_settings
from v1consortium.worker_memory import worker_memory

_WAITING_TOO_LONG = 60.0
_TOO_MUCH_MEMORY = 1024**3

Finding = tuple[str, str, str]
"""What was looked at; "ok" or "problem"; what was found and what to do."""


def doctor(as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """Check settings, database, schema, queues, workflows and providers.

    Exits with 1 if something keeps jobs from running, 3 if the database does not answer.
    """

    async def command() -> int:
        settings = read_settings()
        findings: list[Finding] = []
        with database_url(settings) as url:
            unreachable = await _database(settings, url, findings)
        if not unreachable and all(state == "ok" for _, state, _ in findings):
            async with opened() as session:
                await _work(session, findings)
        findings += _memory()
        for provider, variables in unconfigured(settings).items():
            findings.append((provider, "problem", f"not configured: set {', '.join(variables)}"))
        if as_json:
            print_json([{"check": c, "state": s, "message": m} for c, s, m in findings])
        else:
            for check, state, message in findings:
                typer.echo(f"{state:8} {check:12} {message}")
        if unreachable:
            return EXIT_UNREACHABLE
        return EXIT_FAILED if any(state == "problem" for _, state, _ in findings) else 0

    code = run(command)
    if code:
        raise typer.Exit(code)


def _memory() -> list[Finding]:
    """The workers of this machine, if there are any."""
    found: list[Finding] = []
    for worker in worker_memory():
        size = f"worker {worker.pid} uses {worker.resident // 1024**2:,} MiB"
        if worker.resident > _TOO_MUCH_MEMORY:
            text = f"{size}: lower N of its --queue options, or look for steps that keep much"
            found.append(("memory", "problem", text))
        else:
            found.append(("memory", "ok", size))
    return found


async def _database(settings: Settings, url: str, findings: list[Finding]) -> bool:
    """Settings, reachability, migrations; whether the database does not answer."""
    try:
        missing = await pending(url, schema=settings.river_schema)
    except DatabaseUnavailableError as error:
        text = f"{error}: is it running at {masked_url(url)}, and the password right?"
        findings.append(("database", "problem", text))
        return True
    findings.append(("database", "ok", masked_url(url)))
    number = len(missing.steps) + len(missing.files)
    if number:
        findings.append(
            ("schema", "problem", f"{number} migration(s) missing: run `v1consortium migrate`")
        )
    else:
        findings.append(("schema", "ok", "up to date"))
    return False


async def _work(session: Session, findings: list[Finding]) -> None:
    pool = session.manager.pool
    leader = await leader_get(pool, schema=session.settings.river_schema)
    if leader is None or leader.expires_at < datetime.now(UTC):
        text = "no worker leads: start one with `v1consortium river_worker`"
        findings.append(("workers", "problem", text))
    else:
        findings.append(("workers", "ok", f"led by {leader.leader_id}"))
    paused = [queue.name for queue in await session.manager.client.queue_list() if queue.paused_at]
    for name in paused:
        text = f"{name} is paused: `v1consortium queue resume {name}`"
        findings.append(("queues", "problem", text))
    depths = await queue_depths(pool, schema=session.settings.river_schema)
    for name, _, number, wait in depths:
        if wait > _WAITING_TOO_LONG and name not in paused:
            text = (
                f"{number} job(s) of {name} wait, the oldest for {wait:.0f} s: start a worker "
                f"with --queue {name}=N, or raise N"
            )
            findings.append(("queues", "problem", text))
    unknown = await _unknown_kinds(session)
    if unknown:
        text = (
            f"no worker of this release knows {', '.join(unknown)}: register it in "
            "v1consortium.wiring, or delete the jobs (`v1consortium job list --kind KIND`)"
        )
        findings.append(("jobs", "problem", text))
    stuck = await monitor.stuck_workflows(session.orchestrator, older_than=timedelta(hours=1))
    if stuck:
        text = f"{len(stuck)} run longer than an hour: see `v1consortium monitor stuck`"
        findings.append(("workflows", "problem", text))
    if not await facility_count(pool):
        text = "none known: `v1consortium facility import FILE`"
        findings.append(("facilities", "problem", text))


async def _unknown_kinds(session: Session) -> list[str]:
    """Kinds of unfinished jobs on our queues that nobody works; looks at the newest thousand."""
    found = await session.manager.client.job_list(
        JobListParams(
            queues=list(DEFAULT_QUEUES),
            states=[JobState.AVAILABLE, JobState.RETRYABLE, JobState.SCHEDULED],
            direction=SortOrder.DESC,
            limit=1_000,
        )
    )
    return sorted({job.kind for job in found.jobs} - set(session.manager.workers.kinds()))
