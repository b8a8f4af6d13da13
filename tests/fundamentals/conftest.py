"""The workflow layer's database."""

from tests.integration.riverjobs.conftest import _workflow_template, workflow_url

__all__ = ["_workflow_template", "workflow_url"]
