"""Submissions and tasks with types. ``Task.body`` has the members that this version lacks."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from taskfleet.api_client import TaskBody, is_final


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """An image and what to do with it. The API's default operation is ``grayscale``."""

    input_image_url: str
    operations: Sequence[Mapping[str, Any]] | None = None
    """For example ``[{"name": "resize", "width": 400}]``. ``Client.operations`` lists them."""
    output: Mapping[str, Any] | None = None
    """For example ``{"format": "webp", "quality": 80}``."""
    page: int | None = None
    """Page or frame of the image, from 1 on."""
    damaged: Literal["refuse", "keep"] | None = None
    """What happens to an image of which a part is missing."""

    def body(self) -> Mapping[str, Any]:
        """The JSON of the request."""
        members = {
            "inputImageUrl": self.input_image_url,
            "operations": self.operations,
            "output": self.output,
            "page": self.page,
            "damaged": self.damaged,
        }
        return {name: value for name, value in members.items() if value is not None}

    def key_for(self, run: str) -> str:
        """The idempotency key of this submission in a run that may be repeated."""
        content = json.dumps([run, self.body()], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The stored image of a completed task."""

    content_type: str
    size_bytes: int
    width: int
    height: int
    sha256: str

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Result":
        return cls(
            content_type=body["contentType"],
            size_bytes=body["bytes"],
            width=body["width"],
            height=body["height"],
            sha256=body["sha256"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task at the time of the answer."""

    task_id: str
    status: str
    """PENDING, RUNNING, COMPLETED, FAILED or CANCELED."""
    final: bool
    """Whether the task has ended and no further attempt follows. A failed one may be retried."""
    attempt: int
    created_at: datetime
    updated_at: datetime
    deadline_at: datetime
    """No attempt starts after this time."""
    next_attempt_at: datetime | None = None
    """When the next attempt may start, if that is known."""
    failure_code: str | None = None
    failure_reason: str | None = None
    warnings: Sequence[str] = ()
    """What the result lacks, because the image is damaged."""
    result: Result | None = None
    result_url: str | None = field(default=None, repr=False)
    """A presigned URL, valid for a few minutes. As secret as the result."""
    poll_after_s: float | None = field(default=None, repr=False)
    """When the API suggests to look at an open task again."""
    body: TaskBody = field(repr=False)
    """All members, as the API sent them."""

    @property
    def completed(self) -> bool:
        return self.status == "COMPLETED"

    @classmethod
    def of(cls, body: TaskBody, *, poll_after_s: float | None = None) -> "Task":
        """Raises KeyError, TypeError or ValueError if a required member is missing or invalid."""
        return cls(
            task_id=body["taskId"],
            status=body["status"],
            final=is_final(body),
            attempt=body["attempt"],
            created_at=_instant(body["createdAt"]),
            updated_at=_instant(body["updatedAt"]),
            deadline_at=_instant(body["deadlineAt"]),
            next_attempt_at=_instant(body["nextAttemptAt"]) if "nextAttemptAt" in body else None,
            failure_code=body.get("failureCode"),
            failure_reason=body.get("failureReason"),
            warnings=tuple(body.get("warnings") or ()),
            result=Result.of(body["result"]) if body.get("result") else None,
            result_url=body.get("resultUrl"),
            poll_after_s=poll_after_s,
            body=body,
        )


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
