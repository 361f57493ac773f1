"""The error hierarchy of the services. Every error has a stable code and says if a retry may help.

    TaskfleetError
    ├── AwsError              a call to AWS failed after its retries
    │   ├── TableUnavailable
    │   ├── QueueUnavailable
    │   ├── BucketUnavailable
    │   └── SecretUnavailable
    ├── LeaseLost             the claim no longer holds: stop, and write nothing
    ├── RowUnreadable         the row was written by another version: try again later
    ├── AttemptDeferred       the attempt could not go on now, which counts as no failure
    │   ├── ImagingBusy
    │   └── SourceDeferred
    ├── AttemptError          an attempt at a task failed; `fault` says whose fault it is
    │   ├── SourceError       fetching the image failed
    │   ├── ImageError        opening, processing or encoding the image failed
    │   ├── StorageFailed
    │   ├── InternalError
    │   ├── AttemptsExhausted
    │   └── DeadlinePassed
    ├── TransitionRefused     the row does not allow a move (task_table.py)
    └── ApiError              an error response of the HTTP API (services/api/http_errors.py)

Clients read the code of an ``AttemptError`` as ``failureCode`` and its message, a sentence, as
``failureReason``. Neither contains the query string of a URL.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import ClassVar


class Fault(StrEnum):
    """Who must fix something before the task can succeed."""

    CLIENT = "client"
    """The client, or the image it chose. Not retried."""
    SOURCE = "source"
    """The server of the image, temporarily. Retried; the message is deleted when the task fails."""
    OURS = "ours"
    """Taskfleet or AWS. Retried; the message goes to the dead-letter queue when the task fails."""


class FailureCounter(StrEnum):
    """The fields of a task that count its failed attempts."""

    SOURCE_FAILURES = "source_failures"
    CRASHES = "crashes"
    OTHER_FAILURES = "other_failures"


class TaskfleetError(Exception):
    """The root. ``retryable`` means that the same call may succeed later without a change."""

    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False


# ── AWS ───────────────────────────────────────────────────────────────────────────────────────


class AwsError(TaskfleetError):
    code = "aws_unavailable"
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
    """Another claim, a cancellation or the reconciler has taken over the task."""

    code = "lease_lost"


class RowUnreadable(TaskfleetError):
    """This version cannot read the row, which a newer one may have written."""

    code = "row_unreadable"
    retryable = True


class AttemptDeferred(TaskfleetError):
    """The attempt cannot go on now, by no fault of the task: it is given back and counts as none.

    `retry_after_s` is how long the task waits.
    """

    retryable = True

    def __init__(self, reason: str, *, retry_after_s: float) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class ImagingBusy(AttemptDeferred):
    """No imaging process became free in time."""

    code = "imaging_busy"


class SourceDeferred(AttemptDeferred):
    """The image's server was not asked, to spare it or to leave slots to other servers."""

    code = "source_deferred"


# ── An attempt at a task ──────────────────────────────────────────────────────────────────────


class AttemptError(TaskfleetError):
    """An attempt failed. Subclasses set ``code`` and ``fault``, which determines ``retryable``.

    ``counter`` is what a retryable failure counts toward.
    """

    fault: ClassVar[Fault] = Fault.OURS
    counter: ClassVar[FailureCounter] = FailureCounter.OTHER_FAILURES
    retryable = True

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.retryable = cls.fault is not Fault.CLIENT


class SourceError(AttemptError):
    """Fetching the image failed."""

    code = "source_error"
    fault = Fault.SOURCE
    counter = FailureCounter.SOURCE_FAILURES

    def __init__(self, reason: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
        """How long the server asked us to wait before the next attempt (``Retry-After``)."""


class SourceUrlInvalid(SourceError):
    code = "source_url_invalid"
    fault = Fault.CLIENT


class SourceAddressBlocked(SourceError):
    """The host or a redirect leads to an address that tasks must not reach."""

    code = "source_address_blocked"
    fault = Fault.CLIENT


class SourceNotFound(SourceError):
    code = "source_not_found"
    fault = Fault.CLIENT


class SourceRefused(SourceError):
    """The server answered with another 4xx that blames the request."""

    code = "source_refused"
    fault = Fault.CLIENT


class SourceNeedsCookies(SourceError):
    """The server redirects in a circle until its cookie comes back."""

    code = "source_needs_cookies"
    fault = Fault.CLIENT


class SourceEncodingNotSupported(SourceError):
    """The server applied a content encoding that no request of ours asks for."""

    code = "source_encoding_not_supported"
    fault = Fault.CLIENT


class SourceCertificateInvalid(SourceError):
    """The server's certificate proves no identity, which only its operator can fix."""

    code = "source_certificate_invalid"
    fault = Fault.CLIENT


class SourceTooLarge(SourceError):
    code = "source_too_large"
    fault = Fault.CLIENT


class SourceTooManyRedirects(SourceError):
    code = "source_too_many_redirects"
    fault = Fault.CLIENT


class SourceUnreachable(SourceError):
    """DNS, connection or TLS failed, or the connection broke."""

    code = "source_unreachable"


class SourceUnavailable(SourceError):
    """The server answered 5xx, 408, 425 or 429, or 202 with ``Retry-After``."""

    code = "source_unavailable"


class SourceTimeout(SourceError):
    code = "source_timeout"


class ImageError(AttemptError):
    """Opening, processing or encoding the image failed."""

    code = "image_error"
    fault = Fault.CLIENT


class NotAnImage(ImageError):
    code = "not_an_image"


class ImageFormatNotSupported(ImageError):
    code = "image_format_not_supported"


class PageNotFound(ImageError):
    """The file has fewer pages or frames than the task asks for."""

    code = "page_not_found"


class ImageTooLarge(ImageError):
    """The header declares more pixels than allowed. Nothing has been decoded."""

    code = "image_too_large"


class ImageDamaged(ImageError):
    code = "image_damaged"


class ImageTooComplex(ImageError):
    """The image needs more memory or CPU time than a task may use."""

    code = "image_too_complex"


class ResultTooLarge(ImageError):
    """The result exceeds the limit on pixels or bytes, or the time its encoder may take."""

    code = "result_too_large"


class OperationInvalid(ImageError):
    """This worker does not know a stored operation, or rejects its parameters.

    The API accepted it, so a newer version of the worker, which may be on its way, knows it.
    """

    code = "operation_invalid"
    fault = Fault.OURS


class ImagingCrashed(ImageError):
    """The isolated child process died, by a bug or for lack of memory on the machine."""

    code = "imaging_crashed"
    fault = Fault.OURS
    counter = FailureCounter.CRASHES


class ImagingTimeout(ImageError):
    """The child exceeded its wall-clock limit but not its CPU limit: the machine is overloaded."""

    code = "imaging_timeout"
    fault = Fault.OURS
    counter = FailureCounter.CRASHES


class StorageFailed(AttemptError):
    """The result could not be stored in the bucket."""

    code = "storage_failed"


class InternalError(AttemptError):
    """A bug in Taskfleet. The log of the attempt has its traceback."""

    code = "internal_error"


class AttemptsExhausted(AttemptError):
    """Too many workers disappeared during an attempt, for example because they were killed."""

    code = "attempts_exhausted"


class DeadlinePassed(AttemptError):
    code = "deadline_passed"


def _subclasses(cls: type[AttemptError]) -> Iterator[type[AttemptError]]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


_FAULTS = {cls.code: cls.fault for cls in _subclasses(AttemptError)}


def fault_of(failure_code: str) -> Fault:
    """The fault behind a row's ``failureCode``. An unknown code counts as ours."""
    return _FAULTS.get(failure_code, Fault.OURS)
