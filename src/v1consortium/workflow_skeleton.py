"""Writes a new workflow's module, to be filled in."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from string import Template

_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}", re.ASCII)

_TEXT = Template('''"""Workflow ``$name``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from riverengine import Job, Json
from riverjobs import BaseJobArgs, StepContext, StepDefinition, WorkerBase, WorkflowDefinition


class ${Name}Input(BaseModel):
    """What the workflow is started with; add its fields."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


@dataclass(frozen=True, kw_only=True)
class ${Name}Args(BaseJobArgs):
    """The first step."""

    kind: ClassVar[str] = "$name"


class ${Name}Worker(WorkerBase[${Name}Args]):
    """Runs the first step."""

    async def work(self, job: Job[${Name}Args]) -> None:
        """Run the step."""
        await self.execute_with_workflow_tracking(job, self._run)

    async def _run(self, context: StepContext) -> Mapping[str, Json]:
        # May run again after a crash: give providers context.idempotency_key(), or look first.
        return {"done_by": context.idempotency_key()}


$NAME = WorkflowDefinition(
    type="$name",
    input_model=${Name}Input,
    steps=[StepDefinition(name="$name", args_type=${Name}Args)],
)
''')


def write_skeleton(name: str, folder: Path) -> Path:
    """Write ``folder/NAME.py`` and return its path.

    Raises ``ValueError`` for a name that cannot be a module's, ``FileExistsError``, ``OSError``.
    """
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ValueError("a name is lower case letters, digits and _, such as tax_report")
    camel = "".join(part.capitalize() for part in name.split("_"))
    path = folder / f"{name}.py"
    text = _TEXT.substitute(name=name, Name=camel, NAME=name.upper())
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
    return path
