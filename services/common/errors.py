"""Every error of ours, in one tree: a stable code, an HTTP status, and whether to try again.

    TaskfleetError
    ├── AwsError                  a call to AWS failed after its retries; our fault, passing
    │   ├── TableUnavailable
    │   ├── QueueUnavailable
    │   ├── BucketUnavailable
    │   └── SecretUnavailable
    ├── LeaseLost                 the claim no longer holds: drop the work, write nothing
    └── AttemptError              why an attempt at a task failed; `fault` says whose it is
        ├── SourceError           fetching the image
        └── ImageError          opening, changing or encoding it

The code of an ``AttemptError`` is what a client reads as ``failureCode``; its message is the
``failureReason``, a sentence for a person. Neither ever carries a URL's query string.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import ClassVar


class Fault(StrEnum):
    """Who has to change something before the task can succeed."""

    CLIENT = "client"
    """The client, or what it pointed at: never retried."""
    SOURCE = "source"
    """The image's server, in passing: retried; used up, the message is deleted."""
    OURS = "ours"
    """Taskfleet or AWS: retried; used up, the message is left for the dead-letter queue."""


class TaskfleetError(Exception):
    """The root. ``retryable``: the same call may succeed later without anyone's change."""

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
    """Fetching the image failed."""

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


class ImageError(AttemptError):
    """Opening, changing or encoding the image failed."""

    code = "image_error"
    fault = Fault.CLIENT


class NotAnImage(ImageError):
    code = "not_an_image"


class ImageFormatNotSupported(ImageError):
    code = "image_format_not_supported"


class ImageTooLarge(ImageError):
    """More pixels than the cap, by the header, before anything is decoded."""

    code = "image_too_large"


class ImageDamaged(ImageError):
    code = "image_damaged"


class ImageTooComplex(ImageError):
    """The image needs more memory or CPU time than one task may use."""

    code = "image_too_complex"


class ResultTooLarge(ImageError):
    """The result would exceed the cap on pixels, bytes, or what its encoder can do in time."""

    code = "result_too_large"


class OperationInvalid(ImageError):
    """A stored operation that this worker does not know or whose parameters it refuses."""

    code = "operation_invalid"


class ImagingCrashed(ImageError):
    """The isolated child process died: a bug, or the machine short of memory."""

    code = "imaging_crashed"
    fault = Fault.OURS


class ImagingTimeout(ImageError):
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
