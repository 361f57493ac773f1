"""Errors of the HTTP API. Each becomes a problem document with its ``code`` and ``http_status``.

ApiError
├── MalformedJson         400  the body is not JSON, or is ambiguous JSON
├── InvalidRequest        400  one entry per invalid field
├── Unauthorized          401
├── Forbidden             403
├── TaskNotFound          404
├── TaskStateConflict     409
├── ResultExpired         410
├── IdempotencyKeyReused  422
├── SubmissionsLimited    429
├── SubmissionsBusy       503  the threads for submissions are in use
└── NotReady              503
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from services.common.errors import TaskfleetError


@dataclass(frozen=True, slots=True)
class FieldError:
    """One invalid field: its path, such as ``operations.0.width``, and what it allows."""

    field: str
    message: str


class ApiError(TaskfleetError):
    """Sent to the client as ``application/problem+json``."""

    http_status: ClassVar[int] = 500


class MalformedJson(ApiError):
    code = "malformed_json"
    http_status = 400


class InvalidRequest(ApiError):
    code = "invalid_request"
    http_status = 400

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(f"{error.field}: {error.message}" for error in errors))
        self.errors = tuple(errors)


class Unauthorized(ApiError):
    code = "unauthorized"
    http_status = 401


class Forbidden(ApiError):
    code = "forbidden"
    http_status = 403


class TaskNotFound(ApiError):
    code = "task_not_found"
    http_status = 404


class TaskStateConflict(ApiError):
    """`status` is the status of the task, which does not allow the action."""

    code = "task_state_conflict"
    http_status = 409

    def __init__(self, message: str, *, status: str) -> None:
        super().__init__(message)
        self.status = status


class ResultExpired(ApiError):
    code = "result_expired"
    http_status = 410


class IdempotencyKeyReused(ApiError):
    code = "idempotency_key_reused"
    http_status = 422


class SubmissionsLimited(ApiError):
    code = "submissions_limited"
    http_status = 429

    def __init__(self, *, limit: int, retry_after_s: int) -> None:
        super().__init__(
            f"The client may submit {limit} tasks per minute. A large body counts as several."
        )
        self.limit = limit
        self.retry_after_s = retry_after_s


class SubmissionsBusy(ApiError):
    """The threads of this process for submissions are in use."""

    code = "submissions_busy"
    http_status = 503

    def __init__(self) -> None:
        super().__init__("Too many submissions are in progress. Try again later.")


class NotReady(ApiError):
    """`failing` names the dependencies that do not respond."""

    code = "not_ready"
    http_status = 503

    def __init__(self, failing: Sequence[str]) -> None:
        super().__init__(f"These dependencies do not respond: {', '.join(failing)}.")
        self.failing = tuple(failing)
