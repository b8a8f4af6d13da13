"""Puts the application together: definitions, workers, monitors."""

from __future__ import annotations

import logging
from typing import Any

from riverjobs import (
    RiverManager,
    WorkerBase,
    WorkflowManager,
    WorkflowOrchestrator,
    register_monitors,
)
from v1consortium.providers import Providers
from v1consortium.settings import Settings, read_settings
from v1consortium.workflows.drug_test_order import DRUG_TEST_ORDER, DrugTestOrderWorker
from v1consortium.workflows.send_test_notification import SendTestNotificationWorker
from v1consortium.workflows.user_signup import (
    USER_SIGNUP,
    CreateOrganizationWorker,
    ProcessSubscriptionWorker,
    UserSignupWorker,
)

DEFINITIONS = (USER_SIGNUP, DRUG_TEST_ORDER)
"""Every type of workflow the application knows."""


def register_river_workers(
    manager: RiverManager,
    settings: Settings | None = None,
    providers: Providers | None = None,
    *,
    logger: logging.Logger | None = None,
) -> WorkflowOrchestrator:
    """Register every workflow, worker and monitor with ``manager``, before it is opened.

    settings: None for the environment's; raises ``SettingsError``.  providers: None for none, fit
    for a process that only starts workflows.
    """
    settings = settings or read_settings()
    given = providers or Providers()
    orchestrator = WorkflowOrchestrator(manager, WorkflowManager(manager), logger)
    for definition in DEFINITIONS:
        orchestrator.register(definition)
    _add(manager, settings, UserSignupWorker(orchestrator, given))
    _add(manager, settings, CreateOrganizationWorker(orchestrator))
    _add(manager, settings, ProcessSubscriptionWorker(orchestrator, given, settings))
    _add(manager, settings, DrugTestOrderWorker(orchestrator, given, settings))
    _add(manager, settings, SendTestNotificationWorker(orchestrator, given, settings))
    register_monitors(orchestrator)
    return orchestrator


def _add(manager: RiverManager, settings: Settings, worker: WorkerBase[Any]) -> None:
    worker.retry_base = settings.retry_base
    manager.workers.add(worker)
