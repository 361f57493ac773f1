"""The models of requests and responses. The OpenAPI document is generated from them."""

import hashlib
import json
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from services.api.submission_limiter import BYTES_PER_CHARGE
from services.common.config import ApiConfig
from services.common.image_limits import MAX_COMPUTED_PIXELS, MAX_RESULT_BYTES, MAX_RESULT_PIXELS
from services.common.operations import MAX_OPERATIONS, Recipe
from services.common.source_url import MAX_LENGTH, SourceUrl
from services.common.task import Result, Status, Task
from services.common.task_record import to_rfc3339


def _check_url(url: str) -> str:
    try:
        SourceUrl.parse(url)
    except ValueError as refused:
        raise PydanticCustomError("source_url", "{sentence}", {"sentence": str(refused)}) from None
    return url


InputImageUrl = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_LENGTH,
        description="URL of the image: http or https, with a public address.",
        # In the schema only, because the message of `_check_url` is easier to read.
        json_schema_extra={
            "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://",
            "example": "https://example.com/photo.jpg",
        },
    ),
    AfterValidator(_check_url),
]


class Submission(Recipe):
    """An image and the operations to apply. The default operation is `grayscale`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, alias_generator=to_camel)

    input_image_url: InputImageUrl

    def content_hash(self) -> str:
        """A hash of the submission that no default changes.

        A repeat with the same ``Idempotency-Key`` has the same hash, whether it spells out defaults
        or not, and although a newer version adds parameters with defaults.
        """
        content = self.model_dump(mode="json", exclude_defaults=True)
        content["operations"] = [
            # The name is its class's default, too.
            {**operation.model_dump(mode="json", exclude_defaults=True), "name": operation.name}
            for operation in self.operations
        ]
        given = {name: value for name, value in content.items() if value != {}}
        return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()


Instant = Annotated[
    datetime,
    PlainSerializer(to_rfc3339),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class _View(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class ResultView(_View):
    """The stored image."""

    content_type: str
    bytes: int
    width: int
    height: int
    sha256: str

    @classmethod
    def of(cls, result: Result) -> Self:
        return cls(
            content_type=result.content_type,
            bytes=result.size_bytes,
            width=result.width,
            height=result.height,
            sha256=result.sha256,
        )


class TaskView(_View):
    """A task."""

    task_id: str
    status: Status
    final: Annotated[
        bool,
        Field(
            description="Whether the status is final. Poll until it is: a task with status FAILED "
            "may have another attempt. Only a retry by its client reopens a final task."
        ),
    ]
    will_retry: Annotated[
        bool, Field(description="With status FAILED: another attempt will follow.")
    ]
    input_image_url: str
    operations: list[dict[str, Any]]
    output: dict[str, Any] | None = None
    page: Annotated[int | None, Field(description="Absent for the first page.")] = None
    damaged: Annotated[str | None, Field(description="Absent for `refuse`.")] = None
    created_at: Instant
    updated_at: Instant
    started_at: Instant | None = None
    finished_at: Instant | None = None
    deadline_at: Annotated[Instant, Field(description="No attempt starts after this time.")]
    attempt: Annotated[
        int,
        Field(description="Number of attempts started, including those that a worker gave back."),
    ]
    next_attempt_at: Annotated[
        Instant | None, Field(description="No attempt starts before this time.")
    ] = None
    failure_code: str | None = None
    failure_reason: str | None = None
    warnings: Annotated[
        list[str] | None,
        Field(description="With a result: what it lacks, because the input is damaged."),
    ] = None
    result: ResultView | None = None
    result_url: Annotated[
        str | None, Field(description="Presigned URL of the result, valid for a few minutes.")
    ] = None

    @classmethod
    def of(cls, task: Task, *, result_url: str | None) -> Self:
        return cls(
            task_id=task.task_id,
            status=task.status,
            final=task.is_terminal(),
            will_retry=task.will_retry,
            input_image_url=task.input_image_url,
            operations=[dict(operation) for operation in task.operations],
            output=dict(task.output) if task.output is not None else None,
            page=task.page if task.page > 1 else None,
            damaged=task.damaged if task.damaged != "refuse" else None,
            created_at=task.created_at,
            updated_at=task.updated_at,
            started_at=task.started_at,
            finished_at=task.finished_at,
            deadline_at=task.deadline_at,
            attempt=task.attempt,
            next_attempt_at=None if task.is_terminal() else task.next_attempt_at,
            failure_code=task.failure_code,
            failure_reason=task.failure_reason,
            warnings=list(task.result.warnings) if task.result else None,
            result=ResultView.of(task.result) if task.result else None,
            result_url=result_url,
        )


class LimitsView(_View):
    """Every limit of this deployment. A member is missing if there is no such limit."""

    submissions_per_minute: Annotated[
        int | None,
        Field(description="Per client. `RateLimit` says how many are left in this minute."),
    ] = None
    bytes_per_submission: Annotated[
        int, Field(description="A body counts as one more submission for each full multiple.")
    ]
    max_body_bytes: Annotated[int, Field(description="Size of a request body.")]
    max_url_length: Annotated[int, Field(description="Length of `inputImageUrl` in characters.")]
    max_operations: Annotated[int, Field(description="Operations in one task.")]
    max_image_bytes: Annotated[int, Field(description="Size of the image's file.")]
    max_image_pixels: Annotated[
        int,
        Field(
            description="Of the decoded image. A JPEG may have more if the result is small, "
            "because it is decoded to a smaller size."
        ),
    ]
    max_result_pixels: Annotated[int, Field(description="Of the image after each operation.")]
    max_computed_pixels: Annotated[
        int, Field(description="Of the images after all operations together.")
    ]
    max_result_bytes: Annotated[int, Field(description="Size of the result's file.")]
    max_task_seconds: Annotated[
        int, Field(description="No attempt starts later than this after the submission.")
    ]
    result_retention_seconds: Annotated[
        int, Field(description="How long a finished task and its result are kept.")
    ]

    @classmethod
    def of(cls, config: ApiConfig) -> Self:
        return cls(
            submissions_per_minute=config.submissions_per_minute or None,
            bytes_per_submission=BYTES_PER_CHARGE,
            max_body_bytes=config.max_body_bytes,
            max_url_length=MAX_LENGTH,
            max_operations=MAX_OPERATIONS,
            max_image_bytes=config.fetch_max_bytes,
            max_image_pixels=config.imaging_max_pixels,
            max_result_pixels=MAX_RESULT_PIXELS,
            max_computed_pixels=MAX_COMPUTED_PIXELS,
            max_result_bytes=MAX_RESULT_BYTES,
            max_task_seconds=config.deadline_s,
            result_retention_seconds=config.row_retention_s,
        )


class OperationView(_View):
    """An operation and the JSON schema of its parameters."""

    name: str
    description: str
    json_schema: Annotated[dict[str, Any], Field(alias="schema")]


class CatalogueView(_View):
    operations: list[OperationView]
    default: Annotated[
        list[dict[str, Any]], Field(description="The operations of a submission that names none.")
    ]
    max_operations: Annotated[int, Field(description="Maximum number of operations in one task.")]
    limits: LimitsView


class HealthView(_View):
    """The service is healthy. Otherwise the response is a `Problem`."""

    status: Literal["ok"] = "ok"


class TaskPath(BaseModel):
    task_id: Annotated[
        str,
        Field(
            alias="taskId",
            json_schema_extra={"example": "b2bfce99-4099-43fd-85b6-57d6615e93ee"},
        ),
    ]
