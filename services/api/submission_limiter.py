"""The limit on submissions per client and minute, shared by all API processes.

The count is an item in the task table for each client and minute. To avoid a call for every
submission, a process reserves a share of the remaining submissions in advance. The shares get
smaller near the limit: 6,000 submissions in a minute need 117 calls. A client never exceeds its
limit. It may be limited slightly below it, because a process cannot use what another has reserved.
"""

import math
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from services.api.http_errors import SubmissionsLimited
from services.common.aws import wrap_errors
from services.common.errors import TableUnavailable
from services.common.task_record import to_epoch, to_rfc3339, type_serializer

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

WINDOW = timedelta(minutes=1)
RESERVATION_DIVISOR = 16
"""A process reserves the remaining submissions divided by this. A larger value costs more calls and
leaves fewer reservations unused."""
BYTES_PER_CHARGE = 4_096
"""A body is charged as one more submission for each full 4 KB. Ordinary bodies have a few hundred
bytes."""
LOCK_TIMEOUT_S = 5
"""How long a submission waits while another thread reserves for the same client. Without a limit,
submissions would wait for one hanging call after the other."""
COUNT_RETENTION = timedelta(hours=1)
"""How long the table keeps a count, by TTL."""


class SubmissionCounter:
    """The count in the table. Its key is not a UUID, so it cannot be mistaken for a task."""

    def __init__(self, client: "DynamoDBClient", *, table: str) -> None:
        self._client = client
        self._table = table

    def reserve(self, owner: str, window: datetime, *, amount: int, limit: int) -> int | None:
        """Add `amount` to the count if the result is within `limit`, and return the result.

        Otherwise return None. If a response is lost, the amount counts twice, to the client's
        disadvantage. Raises ``TableUnavailable``.
        """
        try:
            with wrap_errors(TableUnavailable):
                response = self._client.update_item(
                    TableName=self._table,
                    Key={"taskId": {"S": f"submissions#{owner}#{to_rfc3339(window)}"}},
                    UpdateExpression="SET expiresAt = :expiresAt ADD reserved :amount",
                    ConditionExpression="attribute_not_exists(reserved) OR reserved <= :max",
                    ExpressionAttributeValues={
                        ":expiresAt": type_serializer.serialize(to_epoch(window + COUNT_RETENTION)),
                        ":amount": {"N": str(amount)},
                        ":max": {"N": str(limit - amount)},
                    },
                    ReturnValues="UPDATED_NEW",
                )
        except ClientError:
            return None
        return int(response["Attributes"]["reserved"]["N"])


@dataclass(frozen=True, slots=True)
class Quota:
    """What a client may still submit in this minute.

    `remaining` is what this process knows: others may have reserved more since. `reset_s` is the
    number of seconds until the next minute.
    """

    limit: int
    remaining: int
    reset_s: int


class _Reservation:
    """What this process has reserved of one client's minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.window: datetime | None = None
        self.remaining = 0
        self.total_reserved = 0

    @contextmanager
    def locked(self, *, timeout_s: float) -> Iterator[None]:
        """Raises ``TableUnavailable`` if another thread's call to the table takes too long."""
        if not self._lock.acquire(timeout=timeout_s):
            raise TableUnavailable("The client's count is locked by a slow call.")
        try:
            yield
        finally:
            self._lock.release()


class SubmissionLimiter:
    """Thread-safe. `limit` is the number of submissions per client and minute; 0 means no limit."""

    def __init__(
        self,
        *,
        counter: SubmissionCounter,
        limit: int,
        clock: Callable[[], datetime],
        lock_timeout_s: float = LOCK_TIMEOUT_S,
    ) -> None:
        self._counter = counter
        self._limit = limit
        self._clock = clock
        self._lock_timeout_s = lock_timeout_s
        self._reservations: defaultdict[str, _Reservation] = defaultdict(_Reservation)

    def take(self, owner: str, *, amount: int = 1) -> Quota | None:
        """Count `amount` submissions. Returns what is left, or None if there is no limit.

        Raises ``SubmissionsLimited`` if the limit is reached, or ``TableUnavailable``.
        """
        if self._limit == 0:
            return None
        now = self._clock()
        window = now.replace(second=0, microsecond=0)
        reset_s = math.ceil((window + WINDOW - now).total_seconds())
        reservation = self._reservations[owner]
        with reservation.locked(timeout_s=self._lock_timeout_s):
            if reservation.window != window:
                reservation.window = window
                reservation.remaining = reservation.total_reserved = 0
            if reservation.remaining < amount:
                self._reserve(owner, window, reservation, needed=amount - reservation.remaining)
            if reservation.remaining < amount:
                raise SubmissionsLimited(limit=self._limit, retry_after_s=reset_s)
            reservation.remaining -= amount
            unreserved = self._limit - reservation.total_reserved
            return Quota(self._limit, reservation.remaining + unreserved, reset_s)

    def _reserve(
        self, owner: str, window: datetime, reservation: _Reservation, *, needed: int
    ) -> None:
        while (unreserved := self._limit - reservation.total_reserved) >= needed:
            amount = max(needed, unreserved // RESERVATION_DIVISOR)
            total = self._counter.reserve(owner, window, amount=amount, limit=self._limit)
            if total is not None:
                reservation.remaining += amount
                reservation.total_reserved = total
                return
            # Other processes have reserved more since. Less than `amount` is left.
            reservation.total_reserved = self._limit - amount + 1
