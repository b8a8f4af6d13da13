"""Durable workflows on River jobs: steps that commit with their context and successor at once."""

from riverjobs.args import BaseJobArgs
from riverjobs.context import MAX_CONTEXT_BYTES
from riverjobs.definition import StepDefinition, WorkflowDefinition
from riverjobs.errors import (
    ContextTooLargeError,
    ContextValueError,
    DefinitionError,
    PermanentStepError,
    UnknownWorkflowTypeError,
    WorkflowError,
    WorkflowInputError,
    WorkflowNotFoundError,
    WorkflowStateError,
)
from riverjobs.execution import (
    StepStatus,
    WorkflowEvent,
    WorkflowExecution,
    WorkflowStatus,
    WorkflowStep,
    WorkflowSummary,
)
from riverjobs.monitor import register_monitors
from riverjobs.orchestrator import WorkflowOrchestrator
from riverjobs.reconciler import reconcile
from riverjobs.river_manager import (
    DEFAULT_QUEUES,
    QUEUE_CRITICAL,
    QUEUE_DEFAULT,
    QUEUE_EXTERNAL,
    QUEUE_NOTIFICATION,
    QUEUE_SCHEDULED,
    Config,
    Health,
    RiverManager,
)
from riverjobs.step_attempt import StepContext
from riverjobs.worker_base import StepTimeoutError, WorkerBase
from riverjobs.workflow_manager import WorkflowManager

__all__ = [
    "DEFAULT_QUEUES",
    "MAX_CONTEXT_BYTES",
    "QUEUE_CRITICAL",
    "QUEUE_DEFAULT",
    "QUEUE_EXTERNAL",
    "QUEUE_NOTIFICATION",
    "QUEUE_SCHEDULED",
    "BaseJobArgs",
    "Config",
    "ContextTooLargeError",
    "ContextValueError",
    "DefinitionError",
    "Health",
    "PermanentStepError",
    "RiverManager",
    "StepContext",
    "StepDefinition",
    "StepStatus",
    "StepTimeoutError",
    "UnknownWorkflowTypeError",
    "WorkerBase",
    "WorkflowDefinition",
    "WorkflowError",
    "WorkflowEvent",
    "WorkflowExecution",
    "WorkflowInputError",
    "WorkflowManager",
    "WorkflowNotFoundError",
    "WorkflowOrchestrator",
    "WorkflowStateError",
    "WorkflowStatus",
    "WorkflowStep",
    "WorkflowSummary",
    "reconcile",
    "register_monitors",
]
