"""What a call of the client raises.

TaskfleetError
├── Unavailable       no usable answer within the time limit
├── ApiError          the API rejected the request
│   └── AccessDenied  the key is missing, unknown, revoked or lacks a scope
├── TaskNotFinal      the task was still open at the time limit
├── TaskFailed        the task ended without a result
└── ResultCorrupt     the downloaded bytes are not those of the result
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskfleet.task import Task


class TaskfleetError(Exception):
    """The root."""


class Unavailable(TaskfleetError):
    """The API or the store of results gave no usable answer in time.

    It is unknown whether the last request had an effect. A submission may be repeated with its
    idempotency key.
    """


class ApiError(TaskfleetError):
    """The API rejected the request. The message is its sentence."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        errors = problem.get("errors")
        self.status = status
        self.code = str(problem.get("code", "unknown"))
        self.request_id = problem.get("requestId")
        """Names this request in the service's logs."""
        self.errors: Sequence[Mapping[str, str]] = errors if isinstance(errors, list) else []
        """With code ``invalid_request``: the ``field`` and ``message`` of each invalid field."""
        fields = "; ".join(f"{error.get('field')}: {error.get('message')}" for error in self.errors)
        detail = str(problem.get("detail") or f"The API answered with status {status}.")
        super().__init__(f"{detail} {fields}" if fields else detail)


class AccessDenied(ApiError):
    """The key is missing, unknown or revoked, or lacks a scope."""


class TaskNotFinal(TaskfleetError):
    """The task was still open when the time limit of the wait passed. It goes on."""

    def __init__(self, task: "Task") -> None:
        super().__init__(f"Task {task.task_id} is still {task.status}.")
        self.task = task


class TaskFailed(TaskfleetError):
    """The task ended as FAILED or CANCELED."""

    def __init__(self, task: "Task") -> None:
        super().__init__(task.failure_reason or f"Task {task.task_id} is {task.status}.")
        self.task = task
        self.code = task.failure_code


class ResultCorrupt(TaskfleetError):
    """The downloaded bytes are not those of the result."""
