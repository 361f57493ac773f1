"""Every error of ours, in one tree: a stable code, an HTTP status, and whether to try again.

    TaskfleetError
    ├── ApiError                  what a client of the HTTP API did or met; becomes problem+json
    │   ├── MalformedJson         400  the body is not JSON, or not unambiguous JSON
    │   ├── InvalidRequest        400  one entry per invalid field
    │   ├── Unauthorized          401
    │   ├── Forbidden             403
    │   ├── TaskNotFound          404
    │   ├── TaskStateConflict     409
    │   ├── ResultExpired         410
    │   ├── IdempotencyKeyReused  422
    │   ├── SubmissionsLimited    429
    │   └── NotReady              503
    ├── AwsError                  a call to AWS failed after its retries; our fault, passing
    │   ├── TableUnavailable
    │   ├── QueueUnavailable
    │   ├── BucketUnavailable
    │   └── SecretUnavailable
    ├── LeaseLost                 the claim no longer holds: drop the work, write nothing
    └── AttemptError              why an attempt at a task failed; `fault` says whose it is
        ├── SourceError           fetching the picture
        └── PictureError          opening, changing or encoding it

The code of an ``AttemptError`` is what a client reads as ``failureCode``; its message is the
``failureReason``, a sentence for a person. Neither ever carries a URL's query string.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class Fault(StrEnum):
    """Who has to change something before the task can succeed."""

    CLIENT = "client"
    """The client, or what it pointed at: never retried."""
    SOURCE = "source"
    """The picture's server, in passing: retried; used up, the message is deleted."""
    OURS = "ours"
    """Taskfleet or AWS: retried; used up, the message is left for the dead-letter queue."""


class TaskfleetError(Exception):
    """The root. ``retryable``: the same call may succeed later without anyone's change."""

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False


# ── The HTTP API ──────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class FieldError:
    """One invalid field: a path such as ``operations.0.width``, and what is allowed there."""

    field: str
    message: str


class ApiError(TaskfleetError):
    """Answered to the client as problem+json with this class's code and status."""


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
    """`status` is the task's, which stands in the way."""

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
        super().__init__(f"The client may submit {limit} tasks a minute.")
        self.retry_after_s = retry_after_s


class NotReady(ApiError):
    """`failing` names what the service depends on and gets no answer from."""

    code = "not_ready"
    http_status = 503

    def __init__(self, failing: Sequence[str]) -> None:
        super().__init__(f"No answer from: {', '.join(failing)}.")
        self.failing = tuple(failing)


# ── AWS ───────────────────────────────────────────────────────────────────────────────────────


class AwsError(TaskfleetError):
    code = "aws_unavailable"
    http_status = 503
    retryable = True


class TableUnavailable(AwsError):
    code = "table_unavailable"


class QueueUnavailable(AwsError):
    code = "queue_unavailable"


class BucketUnavailable(AwsError):
    code = "bucket_unavailable"


class SecretUnavailable(AwsError):
    code = "secret_unavailable"


class LeaseLost(TaskfleetError):
    """Another claim, a cancel or the reconciler took the task over."""

    code = "lease_lost"


# ── An attempt at a task ──────────────────────────────────────────────────────────────────────


class AttemptError(TaskfleetError):
    """Why an attempt failed. Subclasses state a ``code`` and a ``fault``; the rest follows."""

    fault: ClassVar[Fault] = Fault.OURS
    retryable = True

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.retryable = cls.fault is not Fault.CLIENT


class SourceError(AttemptError):
    """Fetching the picture failed."""

    code = "source_error"
    fault = Fault.SOURCE


class SourceUrlInvalid(SourceError):
    code = "source_url_invalid"
    fault = Fault.CLIENT


class SourceAddressBlocked(SourceError):
    """The name or a redirect leads to an address that no task may reach."""

    code = "source_address_blocked"
    fault = Fault.CLIENT


class SourceNotFound(SourceError):
    code = "source_not_found"
    fault = Fault.CLIENT


class SourceRefused(SourceError):
    """Any other 4xx that says the request itself is wrong."""

    code = "source_refused"
    fault = Fault.CLIENT


class SourceTooLarge(SourceError):
    code = "source_too_large"
    fault = Fault.CLIENT


class SourceTooManyRedirects(SourceError):
    code = "source_too_many_redirects"
    fault = Fault.CLIENT


class SourceUnreachable(SourceError):
    """No address, no connection, no TLS, or the connection broke."""

    code = "source_unreachable"


class SourceUnavailable(SourceError):
    """The server answered 5xx, 408, 425 or 429."""

    code = "source_unavailable"


class SourceTimeout(SourceError):
    code = "source_timeout"


class PictureError(AttemptError):
    """Opening, changing or encoding the picture failed."""

    code = "picture_error"
    fault = Fault.CLIENT


class NotAPicture(PictureError):
    code = "not_a_picture"


class PictureFormatNotAllowed(PictureError):
    code = "picture_format_not_allowed"


class PictureTooLarge(PictureError):
    """More pixels than the cap, by the header, before anything is decoded."""

    code = "picture_too_large"


class PictureDamaged(PictureError):
    code = "picture_damaged"


class PictureTooComplex(PictureError):
    """The picture needs more memory or CPU time than one task may use."""

    code = "picture_too_complex"


class ResultTooLarge(PictureError):
    """The result would exceed the cap on pixels, bytes, or what its encoder can do in time."""

    code = "result_too_large"


class OperationInvalid(PictureError):
    """A stored operation that this worker does not know or whose parameters it refuses."""

    code = "operation_invalid"


class ImagingCrashed(PictureError):
    """The isolated child process died: a bug, or the machine short of memory."""

    code = "imaging_crashed"
    fault = Fault.OURS


class ImagingTimeout(PictureError):
    """The child passed its wall clock without using up its CPU time: a machine too busy."""

    code = "imaging_timeout"
    fault = Fault.OURS


class StorageFailed(AttemptError):
    """The result could not be put into the bucket."""

    code = "storage_failed"


class InternalError(AttemptError):
    """A bug of ours; the log of the attempt has its traceback."""

    code = "internal_error"


class AttemptsExhausted(AttemptError):
    """Every attempt ended without a word, for instance because its worker was killed."""

    code = "attempts_exhausted"


class DeadlinePassed(AttemptError):
    code = "deadline_passed"


def _subclasses(cls: type[AttemptError]) -> Iterator[type[AttemptError]]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


_FAULTS = {cls.code: cls.fault for cls in _subclasses(AttemptError)}


def fault_of(failure_code: str) -> Fault:
    """Whose fault a row's ``failureCode`` is; a code that this version lacks counts as ours."""
    return _FAULTS.get(failure_code, Fault.OURS)
