"""Reads a drug-test order's input back out of its workflow's context."""

from __future__ import annotations

from collections.abc import Mapping

from riverengine import Json
from v1consortium.models import DrugTestOrderInput


def order_input(context: Mapping[str, Json]) -> DrugTestOrderInput:
    """What the workflow was started with; steps have added to the context since."""
    names = DrugTestOrderInput.model_fields
    return DrugTestOrderInput.model_validate(
        {name: value for name, value in context.items() if name in names}
    )
