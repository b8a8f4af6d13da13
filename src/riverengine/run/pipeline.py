"""Composes hooks and middleware: around the work of a kind of job, and around an insert.

Source: internal/jobexecutor and internal/execution, client.go insertManyShared, at v0.51.1. Around
work, from the outside: the worker's own middleware, resumable steps, the client's middleware
(plugins first), the args type's plugins, hooks at the begin, args decoding and work, hooks at the
end. In each group the first entry is outermost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from riverengine.insert.plan import InsertPlan
from riverengine.types.job import JobRow
from riverengine.work.context import WorkContext
from riverengine.work.extensions import Extensions, extensions_of
from riverengine.work.hooks import NO_ERROR, HookWorkBegin, HookWorkEnd
from riverengine.work.middleware import (
    InsertNext,
    InsertResults,
    JobInsertMiddleware,
    WorkerMiddleware,
)
from riverengine.work.registry import RegisteredWorker, Workers
from riverengine.work.resumable import end_resumable


class Attempt(WorkContext):
    """One execution, as the chain around its work sees it."""

    __slots__ = ()

    @property
    def is_decoded(self) -> bool:
        """Whether the args were decoded, so that the work began."""
        raise NotImplementedError

    async def decode_and_work(self) -> None:
        """The innermost call."""
        raise NotImplementedError


WorkChain = Callable[[Attempt], Awaitable[None]]


class WorkChains:
    """The workers of a client, each with the chain around its jobs, composed once."""

    def __init__(self, extensions: Extensions, workers: Workers) -> None:
        self._extensions = extensions
        self._workers = workers
        self._composed: dict[str, tuple[RegisteredWorker, WorkChain | None]] = {}
        for kind in workers.kinds():
            self.get(kind)

    def get(self, kind: str) -> tuple[RegisteredWorker | None, WorkChain | None]:
        """The worker of a kind, and what to call instead of it; None where there is none."""
        found = self._composed.get(kind)
        if found is not None:
            return found
        registered = self._workers.get(kind)
        if registered is None:
            return None, None
        chain = compose_work(self._extensions, registered)
        self._composed[kind] = registered, chain
        return registered, chain


def compose_work(extensions: Extensions, registered: RegisteredWorker) -> WorkChain | None:
    """The whole chain around one worker's jobs; None when there is nothing around them."""
    of_args = extensions_of(registered.args_type)
    begin = (*extensions.work_begin, *of_args.work_begin)
    end = (*extensions.work_end, *of_args.work_end)
    middleware = (*extensions.worker_middleware, *of_args.worker_middleware)
    if not begin and not end and not middleware and not registered.has_middleware:
        return None
    chain: WorkChain = _hooked(begin, end) if begin or end else _decode_and_work
    for each in reversed(middleware):
        chain = _around(each, chain)
    return _own_middleware(registered, chain) if registered.has_middleware else chain


async def _decode_and_work(attempt: Attempt) -> None:
    await attempt.decode_and_work()


def _hooked(begin: Sequence[HookWorkBegin], end: Sequence[HookWorkEnd]) -> WorkChain:
    async def call(attempt: Attempt) -> None:
        for hook in begin:
            changed = await hook.work_begin(attempt.row)
            if changed is not None:
                attempt.replace_row(changed)
        error: BaseException | None = None
        try:
            await attempt.decode_and_work()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as raised:
            if not end or not attempt.is_decoded:
                raise
            error = raised
        for last in end:
            error = await _ended(last, attempt.row, error)
        if error is not None:
            raise error

    return call


async def _ended(
    hook: HookWorkEnd, row: JobRow, error: BaseException | None
) -> BaseException | None:
    try:
        result = await hook.work_end(row, error)
    except (KeyboardInterrupt, SystemExit):
        raise
    except asyncio.CancelledError:
        # The work has ended before: its cancellation cuts the hook off, and changes nothing.
        return error
    except BaseException as raised:  # noqa: BLE001 - it is the attempt's error from here on
        return raised
    if result is None:
        return error
    return None if result is NO_ERROR else result


def _around(middleware: WorkerMiddleware, inner: WorkChain) -> WorkChain:
    async def call(attempt: Attempt) -> None:
        await middleware.work(attempt.row, lambda: inner(attempt))

    return call


def _own_middleware(registered: RegisteredWorker, inner: WorkChain) -> WorkChain:
    async def resumable(attempt: Attempt) -> None:
        """Ends the steps where Go ends them: an error raised outside cannot concern them."""
        error: BaseException | None = None
        try:
            await inner(attempt)
        except BaseException as raised:  # noqa: BLE001 - raised again
            error = raised
        error = end_resumable(attempt, error)
        attempt.resumable = None
        if error is not None:
            raise error

    async def call(attempt: Attempt) -> None:
        chain: WorkChain = resumable
        for each in reversed(registered.worker.middleware(attempt.row)):
            chain = _around(each, chain)
        await chain(attempt)

    return call


# Inserts


def surrounds_insert(extensions: Extensions, plans: Sequence[InsertPlan]) -> bool:
    """Whether any middleware or hook of the client or of an args type sees the insert."""
    args_types = {type(plan.args) for plan in plans}
    return any(
        each.insert_middleware or each.insert_begin
        for each in (extensions, *(extensions_of(args_type) for args_type in args_types))
    )


async def insert_through(
    extensions: Extensions, plans: Sequence[InsertPlan], insert: InsertNext
) -> InsertResults:
    """Insert plans through middleware and hooks.

    Middleware of the client, then of each args type in the order in which they occur, surrounds the
    hooks and the insert; hooks of the client, then of the args type, see each plan in turn.
    """
    of_args = [extensions_of(each) for each in dict.fromkeys(type(plan.args) for plan in plans)]
    middleware = [*extensions.insert_middleware]
    for each in of_args:
        middleware += each.insert_middleware
    innermost = insert
    if extensions.insert_begin or any(each.insert_begin for each in of_args):

        async def hooked(planned: Sequence[InsertPlan]) -> InsertResults:
            return await insert([await _begun(extensions, plan) for plan in planned])

        innermost = hooked
    for wrapper in reversed(middleware):
        innermost = _around_insert(wrapper, innermost)
    return await innermost(plans)


async def _begun(extensions: Extensions, plan: InsertPlan) -> InsertPlan:
    of_args = extensions_of(type(plan.args))
    for hook in (*extensions.insert_begin, *of_args.insert_begin):
        plan = await hook.insert_begin(plan) or plan
    return plan


def _around_insert(middleware: JobInsertMiddleware, next_: InsertNext) -> InsertNext:
    async def call(plans: Sequence[InsertPlan]) -> InsertResults:
        return await middleware.insert_many(plans, next_)

    return call
