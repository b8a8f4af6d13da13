"""What a workflow is made of: pure data, checked when it is declared."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from riverengine import InsertError, InsertOpts, Json
from riverengine.insert.plan import validate_queue_name
from riverjobs.args import BaseJobArgs
from riverjobs.context import checked_object
from riverjobs.errors import ContextValueError, DefinitionError, WorkflowInputError

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}", re.ASCII)

InputModel = type[Any] | Callable[[Mapping[str, Json]], Mapping[str, Json]]
"""A pydantic model, or a function that returns the checked input or raises ``ValueError``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDefinition:
    """One step: a name, and the args type whose worker runs it.

    after: names of the steps that must be completed first.  queue, priority, max_attempts: for this
    step's job; None leaves the choice to the workflow, then to the args type.
    """

    name: str
    args_type: type[BaseJobArgs]
    after: Sequence[str] = ()
    queue: str | None = None
    priority: int | None = None
    max_attempts: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowDefinition:
    """A type of workflow.

    input_model: checks what a workflow is started with; its result is the first context.
    insert_opts: queue, priority, attempts and tags of the jobs, chosen by the context at hand.
    Raises ``DefinitionError`` for a definition that contradicts itself.
    """

    type: str
    steps: Sequence[StepDefinition]
    input_model: InputModel
    version: int = 1
    insert_opts: Callable[[Mapping[str, Json]], InsertOpts] | None = None
    _by_name: Mapping[str, StepDefinition] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {step.name: step for step in self.steps})
        _check(self)

    def step(self, name: str) -> StepDefinition | None:
        """The step of this name, None if there is none."""
        return self._by_name.get(name)

    def check_input(self, given: Mapping[str, Json]) -> dict[str, Json]:
        """The first context made of ``given``; raises ``WorkflowInputError``."""
        try:
            plain = checked_object(given, what="input")
            return checked_object(_validated(self.input_model, plain), what="input")
        except ContextValueError as error:
            raise WorkflowInputError(self.type, [("", str(error))]) from None
        except ValueError as error:
            raise WorkflowInputError(self.type, _problems(error)) from None


def _validated(model: InputModel, given: Mapping[str, Json]) -> object:
    validate = getattr(model, "model_validate", None)
    if callable(validate):
        return validate(given).model_dump(mode="json")
    return model(given)


def _problems(error: ValueError) -> list[tuple[str, str]]:
    """Fields and messages of a model's refusal, without the refused values."""
    details = getattr(error, "errors", None)
    if not callable(details):
        return [("", str(error))]
    return [
        (
            ".".join(str(part) for part in detail["loc"]),
            str(detail["msg"]).removeprefix("Value error, "),
        )
        for detail in details(include_url=False, include_input=False, include_context=False)
    ]


def _check(definition: WorkflowDefinition) -> None:
    here = f"workflow {definition.type!r}"
    if not _NAME.fullmatch(definition.type):
        raise DefinitionError(f"{here}: a type is a letter, then letters, digits, _ . or -")
    if definition.version < 1:
        raise DefinitionError(f"{here}: version must be at least 1")
    if not definition.steps:
        raise DefinitionError(f"{here} has no steps")
    seen: set[str] = set()
    for step in definition.steps:
        _check_step(f"{here}, step {step.name!r}", step)
        if step.name in seen:
            raise DefinitionError(f"{here} has two steps named {step.name!r}")
        seen.add(step.name)
    for step in definition.steps:
        for name in step.after:
            if name not in seen:
                raise DefinitionError(f"{here}, step {step.name!r}: after unknown step {name!r}")
        if len(set(step.after)) != len(step.after):
            raise DefinitionError(f"{here}, step {step.name!r}: after names a step twice")
    cycle = _cycle(definition.steps)
    if cycle:
        raise DefinitionError(f"{here}: steps wait for each other: {' -> '.join(cycle)}")


def _check_step(here: str, step: StepDefinition) -> None:
    if not _NAME.fullmatch(step.name):
        raise DefinitionError(f"{here}: a name is a letter, then letters, digits, _ . or -")
    if not getattr(step.args_type, "kind", None):
        raise DefinitionError(f"{here}: {step.args_type.__name__} must be BaseJobArgs with a kind")
    if step.queue is not None:
        try:
            validate_queue_name(step.queue)
        except InsertError as error:
            raise DefinitionError(f"{here}: {error}") from None
    if step.priority is not None and not 1 <= step.priority <= 4:
        raise DefinitionError(f"{here}: priority must be between 1 and 4")
    if step.max_attempts is not None and step.max_attempts < 1:
        raise DefinitionError(f"{here}: max_attempts must be at least 1")


def _cycle(steps: Sequence[StepDefinition]) -> list[str]:
    """Names of steps that wait for each other, in order; empty if there are none."""
    left = {step.name: set(step.after) for step in steps}
    while ready := [name for name, after in left.items() if not after & left.keys()]:
        for name in ready:
            del left[name]
    if not left:
        return []
    path = [next(iter(left))]
    while True:
        following = next(name for name in left[path[-1]] if name in left)
        if following in path:
            return [*path[path.index(following) :], following]
        path.append(following)
