"""How many tasks a client may submit in a minute, over all processes of the API and all restarts.

The count is one small item for each client and minute in the task table. Asking it for every
submission would cost a call each time, so a process reserves a share of what is left at once, and
smaller ones as the limit comes near: 117 calls for 6,000 submissions in a minute.
A client never gets more than its limit; what one process has reserved and does not use, another
cannot give away, so with several processes a client may be refused a little below it.
"""

import math
import threading
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from services.api.errors import SubmissionsLimited
from services.common.aws import wrap_errors
from services.common.errors import TableUnavailable
from services.common.task_record import to_epoch, to_rfc3339, type_serializer

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

WINDOW = timedelta(minutes=1)
SHARE = 16
"""A process reserves this part of what is left: the more, the more calls and the less stranded."""
KEPT_FOR = timedelta(hours=1)
"""Long after its minute, a count is removed by the table's TTL."""


class SubmissionCounter:
    """The count in the table. Its key is no UUID, so it can never be taken for a task."""

    def __init__(self, client: "DynamoDBClient", *, table: str) -> None:
        self._client = client
        self._table = table

    def reserve(self, owner: str, window: datetime, *, wanted: int, limit: int) -> int | None:
        """Add `wanted` to the count if it stays within `limit`, and return what it is then.

        None when it would not. An answer that was lost is counted twice, to the client's
        disadvantage. Raises ``TableUnavailable``.
        """
        try:
            with wrap_errors(TableUnavailable):
                answer = self._client.update_item(
                    TableName=self._table,
                    Key={"taskId": {"S": f"submissions#{owner}#{to_rfc3339(window)}"}},
                    UpdateExpression="SET expiresAt = :expiresAt ADD reserved :wanted",
                    ConditionExpression="attribute_not_exists(reserved) OR reserved <= :most",
                    ExpressionAttributeValues={
                        ":expiresAt": type_serializer.serialize(to_epoch(window + KEPT_FOR)),
                        ":wanted": {"N": str(wanted)},
                        ":most": {"N": str(limit - wanted)},
                    },
                    ReturnValues="UPDATED_NEW",
                )
        except ClientError:
            return None
        return int(answer["Attributes"]["reserved"]["N"])


class _Share:
    """What this process holds of one client's minute."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.window: datetime | None = None
        self.left = 0
        self.reserved_by_all = 0


class SubmissionLimiter:
    """Thread-safe. `limit` is submissions a minute for each client; 0 is no limit."""

    def __init__(
        self, *, counter: SubmissionCounter, limit: int, clock: Callable[[], datetime]
    ) -> None:
        self._counter = counter
        self._limit = limit
        self._clock = clock
        self._shares: defaultdict[str, _Share] = defaultdict(_Share)

    def take(self, owner: str) -> None:
        """Count one submission; raises ``SubmissionsLimited`` when the minute has no more."""
        if self._limit == 0:
            return
        now = self._clock()
        window = now.replace(second=0, microsecond=0)
        share = self._shares[owner]
        with share.lock:
            if share.window != window:
                share.window, share.left, share.reserved_by_all = window, 0, 0
            if share.left == 0:
                self._reserve(owner, window, share)
            if share.left == 0:
                until_next = window + WINDOW - now
                raise SubmissionsLimited(
                    limit=self._limit, retry_after_s=math.ceil(until_next.total_seconds())
                )
            share.left -= 1

    def _reserve(self, owner: str, window: datetime, share: _Share) -> None:
        while share.reserved_by_all < self._limit:
            wanted = max(1, (self._limit - share.reserved_by_all) // SHARE)
            reserved = self._counter.reserve(owner, window, wanted=wanted, limit=self._limit)
            if reserved is not None:
                share.left, share.reserved_by_all = wanted, reserved
                return
            # Others were faster; what is left is less than was wanted.
            share.reserved_by_all = self._limit - wanted + 1
