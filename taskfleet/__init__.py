"""The Python client of the Taskfleet API. It depends on urllib3 alone.

``Client`` submits, waits and downloads. ``ApiClient`` sends single requests and judges nothing.
"""

from taskfleet.api_client import ApiClient, Response, is_final
from taskfleet.client import Client, Outcome
from taskfleet.errors import (
    AccessDenied,
    ApiError,
    ResultCorrupt,
    TaskFailed,
    TaskfleetError,
    TaskNotFinal,
    Unavailable,
)
from taskfleet.task import Result, Submission, Task

__all__ = [
    "AccessDenied",
    "ApiClient",
    "ApiError",
    "Client",
    "Outcome",
    "Response",
    "Result",
    "ResultCorrupt",
    "Submission",
    "Task",
    "TaskFailed",
    "TaskNotFinal",
    "TaskfleetError",
    "Unavailable",
    "is_final",
]
