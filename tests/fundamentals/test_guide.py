"""The guide's code runs as it stands, and so does what ``workflow new`` writes."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from riverengine import Workers
from riverjobs import Config, RiverManager, WorkflowManager, WorkflowOrchestrator
from v1consortium.cli import main
from v1consortium.workflow_skeleton import write_skeleton

CONFIG = Config(database_url="postgres://nowhere")
MANAGER = WorkflowManager(RiverManager(CONFIG))
GUIDE = Path(__file__).parents[2] / "docs" / "adding-a-workflow.md"


def run(code: str, name: str) -> dict[str, object]:
    """The names a piece of code defines."""
    names: dict[str, object] = {"__name__": name}
    exec(compile(code, name, "exec", dont_inherit=True), names)  # noqa: S102 - our own text
    return names


async def test_the_guide_s_code_runs(workflow_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    guide = run(code, "guide")["main"]
    assert callable(guide)
    await guide(workflow_url)
    assert capsys.readouterr().out == "completed 2026-4200\n"


def test_a_written_skeleton_is_a_workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_skeleton("tax_report", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("tax_report")
    assert module.TAX_REPORT.type == "tax_report"
    assert module.TAX_REPORT.check_input({}) == {}
    workers = Workers()
    workers.add(module.TaxReportWorker(WorkflowOrchestrator(RiverManager(CONFIG), MANAGER)))
    assert workers.kinds() == ["tax_report"]
    with pytest.raises(FileExistsError):
        write_skeleton("tax_report", tmp_path)


@pytest.mark.parametrize(
    "name", ["", "Invoice", "1st", "with-dash", "with space", "x" * 61, "class"]
)
def test_a_name_that_is_no_module_s_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lower case"):
        write_skeleton(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_to_do_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["workflow", "new", "tax_report", "--folder", str(tmp_path)]
    assert main(command) == 0
    assert "TAX_REPORT" in capsys.readouterr().out
    assert main(command) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["workflow", "new", "Tax Report"]) == 2
    assert "lower case" in capsys.readouterr().err
