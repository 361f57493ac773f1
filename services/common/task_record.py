"""The row format of a task: attribute names, and how each field is written and read.

Times are RFC 3339 in UTC with milliseconds, so that they sort as text. `leaseUntil`, `checkAt`,
`nextAttemptAt` and `expiresAt` are epoch seconds, because conditions, the index and TTL compare
them as numbers.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from services.common.errors import RowUnreadable
from services.common.task import Result, Status, Task

type_serializer = TypeSerializer()
type_deserializer = TypeDeserializer()


def to_rfc3339(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_rfc3339(text: str) -> datetime:
    return datetime.fromisoformat(text)


def to_epoch(time: datetime) -> Decimal:
    """Epoch seconds with milliseconds. A Decimal, because boto3 rejects floats."""
    return Decimal(round(time.timestamp() * 1000)) / 1000


def from_epoch(seconds: Decimal) -> datetime:
    return datetime.fromtimestamp(int(seconds * 1000) / 1000, UTC)


def to_document(value: Any) -> Any:
    """JSON data with every float as an equal Decimal."""
    return json.loads(json.dumps(value), parse_float=Decimal)


def from_document(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, Mapping):
        return {key: from_document(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_document(item) for item in value]
    return value


def to_result(result: Result) -> dict[str, Any]:
    return {
        "key": result.key,
        "contentType": result.content_type,
        "bytes": result.size_bytes,
        "width": result.width,
        "height": result.height,
        "sha256": result.sha256,
        "warnings": list(result.warnings),
    }


def from_result(value: Mapping[str, Any]) -> Result:
    return Result(
        key=value["key"],
        content_type=value["contentType"],
        size_bytes=int(value["bytes"]),
        width=int(value["width"]),
        height=int(value["height"]),
        sha256=value["sha256"],
        warnings=tuple(value.get("warnings", ())),
    )


class Attribute(NamedTuple):
    name: str
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]
    default: Any = None
    """The value of a row without the attribute."""


def _unchanged(value: Any) -> Any:
    return value


_TEXT = (_unchanged, _unchanged)
_NUMBER = (_unchanged, int)
_TIME = (to_rfc3339, from_rfc3339)
_EPOCH = (to_epoch, from_epoch)
_DOCUMENT = (to_document, from_document)
_FLAG = (_unchanged, bool, False)
_COUNTER = (_unchanged, int, 0)

ATTRIBUTES: Mapping[str, Attribute] = {
    "task_id": Attribute("taskId", *_TEXT),
    "owner": Attribute("owner", *_TEXT),
    "request_hash": Attribute("requestHash", *_TEXT),
    "request_id": Attribute("requestId", *_TEXT),
    "input_image_url": Attribute("inputImageUrl", *_TEXT),
    "operations": Attribute("operations", *_DOCUMENT),
    "output": Attribute("output", *_DOCUMENT),
    "page": Attribute("page", _unchanged, int, 1),
    "damaged": Attribute("damaged", _unchanged, _unchanged, "refuse"),
    "status": Attribute("status", str, Status),
    "will_retry": Attribute("willRetry", *_FLAG),
    "unsent": Attribute("unsent", *_FLAG),
    "next_attempt_at": Attribute("nextAttemptAt", *_EPOCH),
    "attempt": Attribute("attempt", *_NUMBER),
    "lease_owner": Attribute("leaseOwner", *_TEXT),
    "lease_until": Attribute("leaseUntil", *_EPOCH),
    "source_failures": Attribute("sourceFailures", *_COUNTER),
    "crashes": Attribute("crashes", *_COUNTER),
    "expired_leases": Attribute("expiredLeases", *_COUNTER),
    "other_failures": Attribute("otherFailures", *_COUNTER),
    "created_at": Attribute("createdAt", *_TIME),
    "queued_at": Attribute("queuedAt", *_TIME),
    "updated_at": Attribute("updatedAt", *_TIME),
    "started_at": Attribute("startedAt", *_TIME),
    "finished_at": Attribute("finishedAt", *_TIME),
    "deadline_at": Attribute("deadlineAt", *_TIME),
    "expires_at": Attribute("expiresAt", *_EPOCH),
    "failure_code": Attribute("failureCode", *_TEXT),
    "failure_reason": Attribute("failureReason", *_TEXT),
    "result": Attribute("result", to_result, from_result),
    "open_shard": Attribute("openShard", *_NUMBER),
    "check_at": Attribute("checkAt", *_EPOCH),
    "checked_by": Attribute("checkedBy", *_TEXT),
}
"""The attribute of each field. A field that has its default takes no space in the row."""


def to_attribute(field: str, value: Any) -> dict[str, Any]:
    """The value of a field in DynamoDB's typed form, for example ``{"S": "PENDING"}``."""
    return dict(type_serializer.serialize(ATTRIBUTES[field].write(value)))


_FOR_THE_PREVIOUS_RELEASE: Mapping[str, Any] = {
    "attemptLimit": {"N": "1000"},
    "checkGapS": {"N": "900"},
}
"""Attributes without which the previous release cannot handle a row after a rollback. The limit is
high because `attempt` also counts attempts that were given back."""


def to_item(task: Task) -> dict[str, Any]:
    attributes = {
        attribute.name: to_attribute(field, value)
        for field, attribute in ATTRIBUTES.items()
        if (value := getattr(task, field)) != attribute.default
    }
    return {**attributes, **_FOR_THE_PREVIOUS_RELEASE}


def from_item(item: Mapping[str, Any]) -> Task:
    """The task in a row. Attributes of newer versions are ignored. Raises ``RowUnreadable``."""
    try:
        fields = {
            field: attribute.read(type_deserializer.deserialize(item[attribute.name]))
            for field, attribute in ATTRIBUTES.items()
            if attribute.name in item
        }
        return Task(**fields)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as unknown:
        raise RowUnreadable(f"This version cannot read the row: {unknown!r}") from unknown
