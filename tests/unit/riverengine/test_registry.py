"""Which worker a kind gets, and which registrations are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from riverengine import (
    Job,
    JobKindError,
    RiverError,
    Worker,
    WorkerAlreadyRegisteredError,
    WorkerArgsTypeError,
    Workers,
    work_func,
)


@dataclass(frozen=True)
class MailArgs:
    kind: ClassVar[str] = "mail"
    kind_aliases: ClassVar[tuple[str, ...]] = ("e_mail", "post")


@dataclass(frozen=True)
class NoteArgs:
    kind: ClassVar[str] = "note"


class MailWorker(Worker[MailArgs]):
    async def work(self, job: Job[MailArgs]) -> None:
        return None


async def send(job: Job[MailArgs]) -> None:
    """A worker as a coroutine function."""


def print_note(job: Job[NoteArgs]) -> None:
    """A worker as a plain function."""


def test_a_worker_is_found_by_its_kind_and_its_aliases() -> None:
    workers = Workers()
    worker = MailWorker()
    workers.add(worker)
    assert workers.kinds() == ["e_mail", "mail", "post"]
    assert "post" in workers
    assert "letter" not in workers
    for kind in workers.kinds():
        registered = workers.get(kind)
        assert registered is not None
        assert (registered.worker, registered.kind) == (worker, kind)
    assert workers.get("note") is None


def test_a_taken_kind_or_alias_is_refused_and_nothing_changes() -> None:
    @dataclass(frozen=True)
    class PostArgs:
        kind: ClassVar[str] = "parcel"
        kind_aliases: ClassVar[tuple[str, ...]] = ("letter", "post")

    workers = Workers()
    workers.add(MailWorker())
    with pytest.raises(WorkerAlreadyRegisteredError) as error:
        workers.add_args(PostArgs, work_func(PostArgs, lambda job: None))
    assert error.value.kind == "post"
    assert str(error.value) == 'worker for kind "post" is already registered'
    assert workers.kinds() == ["e_mail", "mail", "post"]


def test_an_alias_given_twice_is_refused() -> None:
    @dataclass(frozen=True)
    class TwiceArgs:
        kind: ClassVar[str] = "twice"
        kind_aliases: ClassVar[tuple[str, ...]] = ("twice",)

    workers = Workers()
    with pytest.raises(WorkerAlreadyRegisteredError):
        workers.add(work_func(TwiceArgs, lambda job: None))
    assert len(workers) == 0


@pytest.mark.parametrize("kind", ["", "a", "with space", "ümlaut", "-dash", None, 3])
def test_a_kind_river_does_not_allow_is_refused(kind: object) -> None:
    workers = Workers()
    args = type("OddArgs", (), {"kind": kind})
    with pytest.raises(JobKindError) as error:
        workers.add(work_func(args, lambda job: None))
    assert error.value.kind == kind
    assert isinstance(error.value, RiverError)
    assert isinstance(error.value, ValueError)


def test_args_given_as_an_example_bring_their_own_kind() -> None:
    @dataclass(frozen=True)
    class DynamicArgs:
        kind: str

    workers = Workers()
    for kind in ("first", "second"):
        workers.add_args(DynamicArgs(kind), work_func(DynamicArgs, lambda job: None))
    assert workers.kinds() == ["first", "second"]
    registered = workers.get("second")
    assert registered is not None
    assert registered.args_type is DynamicArgs


def test_a_function_is_a_worker() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    worker = work_func(
        MailArgs, send, timeout=timedelta(minutes=5), next_retry=lambda job: at, middleware=[]
    )
    workers = Workers()
    workers.add(worker)
    registered = workers.get("mail")
    assert registered is not None
    assert (registered.is_async, registered.has_timeout, registered.has_middleware) == (
        True,
        True,
        False,
    )
    job: Job[Any] = Job(None, MailArgs())  # type: ignore[arg-type]
    assert worker.timeout(job) == timedelta(minutes=5)
    assert worker.next_retry(job) == at


def test_a_decorator_takes_the_args_type_from_the_annotation() -> None:
    workers = Workers()
    assert workers.worker(send) is send
    assert workers.worker(timeout=timedelta(seconds=3))(print_note) is print_note
    mail, note = workers.get("mail"), workers.get("note")
    assert mail is not None
    assert note is not None
    assert (mail.args_type, mail.is_async, mail.has_timeout) == (MailArgs, True, False)
    assert (note.args_type, note.is_async, note.has_timeout) == (NoteArgs, False, True)


def test_a_decorator_can_be_told_the_args_type() -> None:
    @dataclass(frozen=True)
    class LocalArgs:
        kind: ClassVar[str] = "local"

    workers = Workers()

    @workers.worker(LocalArgs)
    def work(job: Job[LocalArgs]) -> None:
        return None

    assert workers.kinds() == ["local"]


def _unannotated() -> Callable[..., None]:
    def work(job):  # type: ignore[no-untyped-def]
        return None

    return work


def _local() -> Callable[..., None]:
    class HiddenArgs:
        kind = "hidden"

    def work(job: Job[HiddenArgs]) -> None:
        return None

    return work


def _no_job(text: str) -> None:
    return None


def _return_only() -> Job[MailArgs]:
    raise NotImplementedError


@pytest.mark.parametrize(
    "function",
    [_unannotated(), _local(), _no_job, _return_only, print],
    ids=["bare", "local", "str", "return", "builtin"],
)
def test_a_function_that_does_not_say_its_args_is_refused(function: Callable[..., Any]) -> None:
    workers = Workers()
    with pytest.raises(WorkerArgsTypeError, match="name the args type"):
        workers.worker(function)
    assert len(workers) == 0


def test_a_worker_that_does_not_say_its_args_is_refused() -> None:
    class Vague(Worker[Any]):
        async def work(self, job: Job[Any]) -> None:
            return None

    with pytest.raises(WorkerArgsTypeError) as error:
        Workers().add(Vague())
    assert error.value.name == "Vague"
    workers = Workers()
    with pytest.raises(WorkerArgsTypeError, match=r"it is a class: register MailWorker\(\)"):
        workers.add(MailWorker)  # type: ignore[arg-type]
    workers.add_args(MailArgs, Vague())
    assert workers.kinds() == ["e_mail", "mail", "post"]


def test_a_kind_written_as_in_go_is_told() -> None:
    class GoArgs:
        def kind(self) -> str:
            return "go"

    with pytest.raises(JobKindError, match="not a method"):
        Workers().add(work_func(GoArgs, lambda job: None))
