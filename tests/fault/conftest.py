"""The application's fixtures."""

from tests.app.conftest import (
    _app_database,
    _simulators,
    app_url,
    environment,
    orchestrator,
    simulators,
)

__all__ = [
    "_app_database",
    "_simulators",
    "app_url",
    "environment",
    "orchestrator",
    "simulators",
]
