"""The promises, stated independently: no rule here is derived from the services.

The checker sees every write, put, send and delete as it happens. It collects violations instead of
raising errors, because an error would surface inside the actor that made the call.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from services.common.task import Status, Task
from services.common.task_record import from_item
from tests.model.expressions import Item
from tests.model.memory_sqs import StoredMessage

LEGAL_MOVES = {
    ("PENDING", "RUNNING"),
    ("PENDING", "FAILED"),
    ("PENDING", "CANCELED"),
    ("RUNNING", "RUNNING"),
    ("RUNNING", "PENDING"),
    ("RUNNING", "COMPLETED"),
    ("RUNNING", "FAILED"),
    ("RUNNING", "RETRYING"),
    ("RUNNING", "CANCELED"),
    ("RETRYING", "RUNNING"),
    ("RETRYING", "FAILED"),
    ("RETRYING", "CANCELED"),
    ("RETRYING", "PENDING"),
    ("FAILED", "PENDING"),
    ("CANCELED", "PENDING"),
}
"""From state to state. RETRYING is FAILED with `willRetry`."""
FINAL = {"COMPLETED", "FAILED", "CANCELED"}
GIVE_UP_CODES = {"attempts_exhausted", "deadline_passed"}
QUEUE_URL, DEAD_LETTER_QUEUE_URL = "queue", "dead letters"
RECHECK = timedelta(minutes=15)
"""The reconciler sends a task at most this often, unless the row says that it is unsent."""
SOURCE_FAILURE_LIMIT, CRASH_LIMIT, EXPIRED_LEASE_LIMIT = 12, 5, 10
COUNTERS = ("source_failures", "crashes", "expired_leases", "other_failures")


def state_of(row: Task) -> str:
    return "RETRYING" if row.status is Status.FAILED and row.will_retry else str(row.status)


class InvariantChecker:
    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.violations: list[str] = []
        self.acknowledged: set[str] = set()
        self.results: dict[str, bytes] = {}
        """The content of the bucket."""
        self.sends: Counter[str] = Counter()
        self.allowed_sends: Counter[str] = Counter()
        self.unconfirmed_sends = 0
        """Sends that took effect without a response. Each of them may be repeated."""
        self.requested_sends = 0
        """Sends by a client's retry or an operator's redrive. Two retries within a millisecond may
        both send."""
        self._rows: dict[str, Task] = {}
        self._retries: Counter[str] = Counter()
        """How often a client has retried each task."""
        self._unsent: Counter[str] = Counter()
        """How often the row of each task began to say that it has no message."""
        self._at_send: dict[str, tuple[int, int]] = {}
        """The retries of its task, and how often it was unsent, when each message was sent."""
        self._clock = clock

    # ── Events ────────────────────────────────────────────────────────────────────────────────

    def on_write(self, before: Item | None, after: Item) -> None:
        new = from_item(after)
        old = from_item(before) if before is not None else None
        if old is None:
            is_new = state_of(new) == "PENDING" and new.attempt == 0
            self._require(new, is_new, "is created in another state")
            self.allowed_sends[new.task_id] += 1
        elif _without_checks(before) == _without_checks(after):
            self._on_check(old, new)
        else:
            self._on_move(old, new)
        if new.unsent and (old is None or not old.unsent):
            self._unsent[new.task_id] += 1
        self._require(new, new.source_failures <= SOURCE_FAILURE_LIMIT, "asks too often")
        self._require(new, new.crashes <= CRASH_LIMIT, "crashes too often")
        self._require(new, new.expired_leases <= EXPIRED_LEASE_LIMIT, "is taken over too often")
        self._rows[new.task_id] = new

    def _on_check(self, old: Task, new: Task) -> None:
        """The row says that it is unsent, or a reconciler is about to send it."""
        if new.unsent or new.check_at == old.check_at:
            return
        self.allowed_sends[new.task_id] += 1
        next_check = min(self._clock() + RECHECK, max(new.deadline_at, self._clock()))
        is_late = new.check_at is not None and new.check_at >= next_check
        self._require(new, is_late, "may be sent again too soon")

    def _on_move(self, old: Task, new: Task) -> None:
        move = (state_of(old), state_of(new))
        self._require(new, move in LEGAL_MOVES, f"moves from {move[0]} to {move[1]}")
        for name in ("owner", "request_hash", "input_image_url", "created_at", "operations"):
            self._require(new, getattr(old, name) == getattr(new, name), f"changes its {name}")
        if new.attempt != old.attempt:
            self._require(new, new.attempt == old.attempt + 1, "skips an attempt")
            self._require(new, move[1] == "RUNNING", "counts an attempt without a claim")
            self._require(new, not self._is_leased(old), "is claimed under a valid lease")
            is_due = old.next_attempt_at is None or old.next_attempt_at <= self._clock()
            self._require(new, is_due, "is claimed too early")
            counts = new.expired_leases - old.expired_leases
            self._require(new, counts == (move[0] == "RUNNING"), "counts its leases wrongly")
        elif move == ("RUNNING", "RUNNING"):
            keeps_owner = new.lease_owner == old.lease_owner
            self._require(new, keeps_owner, "changes its lease owner without a claim")
        if move == ("RUNNING", "PENDING"):
            costs = [name for name in COUNTERS if getattr(new, name) != getattr(old, name)]
            self._require(new, not costs, f"is given back, which costs {costs}")
        elif move[1] == "PENDING":
            self._retries[new.task_id] += 1
            self.allowed_sends[new.task_id] += 1
            is_new = not any(getattr(new, name) for name in COUNTERS)
            self._require(new, is_new, "is retried with old failures")
        if move == ("RUNNING", "FAILED") and new.failure_code in GIVE_UP_CODES:
            self._require(new, not self._is_leased(old), "is given up under a valid lease")
        if state_of(new) == "COMPLETED":
            self._check_result(new)
        is_open, is_indexed = state_of(new) not in FINAL, new.check_at is not None
        self._require(new, is_indexed or not is_open, "is open and not in the index")
        self._require(new, is_open or not is_indexed, "is final and in the index")

    def on_put(self, key: str, body: bytes) -> None:
        if self.results.get(key, body) != body:
            self.violations.append(f"the result {key} is overwritten")
        self.results[key] = body

    def on_send(self, url: str, message: StoredMessage) -> None:
        if url == DEAD_LETTER_QUEUE_URL:
            return
        task_id = json.loads(message.body)["taskId"]
        self.sends[task_id] += 1
        self._at_send[message.message_id] = (self._retries[task_id], self._unsent[task_id])
        if task_id not in self._rows:
            self.violations.append(f"{task_id} is sent before its row is written")

    def on_delete(self, url: str, message: StoredMessage) -> None:
        """Require that the task was final or unsent at some time since the message was sent.

        An operator may delete the dead letter of an open task, which the reconciler still knows.
        """
        if url == DEAD_LETTER_QUEUE_URL:
            return
        row = self._rows[json.loads(message.body)["taskId"]]
        retries, unsent = self._at_send[message.message_id]
        needs_none = (
            state_of(row) in FINAL
            or row.unsent
            or self._retries[row.task_id] > retries
            or self._unsent[row.task_id] > unsent
        )
        self._require(row, needs_none, "loses its message while it is open")

    # ── State ─────────────────────────────────────────────────────────────────────────────────

    def check(self) -> None:
        """Raise AssertionError if any promise is broken. May be called at any time."""
        for task_id in self.acknowledged - self._rows.keys():
            self.violations.append(f"{task_id} is acknowledged but has no row")
        for task_id, row in self._rows.items():
            if state_of(row) == "COMPLETED":
                self._check_result(row)
            sends, allowed = self.sends[task_id], self.allowed_sends[task_id]
            allowed += self.unconfirmed_sends + self.requested_sends
            if sends > allowed:
                self.violations.append(f"{task_id} was sent {sends} times, {allowed} allowed")
        assert not self.violations, "\n".join(self.violations)

    def open_tasks(self) -> list[Task]:
        return [row for row in self._rows.values() if state_of(row) not in FINAL]

    def rows(self) -> list[Task]:
        return list(self._rows.values())

    def _check_result(self, row: Task) -> None:
        result = row.result
        if result is None:
            self.violations.append(f"{row.task_id} is COMPLETED without a result")
            return
        stored = self.results.get(result.key)
        is_stored = stored is not None and hashlib.sha256(stored).hexdigest() == result.sha256
        self._require(row, is_stored, "names a result that is not stored")
        is_of_attempt = result.key.startswith(f"results/{row.task_id}/{row.attempt}.")
        self._require(row, is_of_attempt, "names a result of another attempt")

    def _is_leased(self, row: Task) -> bool:
        return (
            row.status is Status.RUNNING
            and row.lease_until is not None
            and self._clock() < row.lease_until
        )

    def _require(self, row: Task, holds: bool, violation: str) -> None:  # noqa: FBT001
        if not holds:
            self.violations.append(f"{row.task_id} {violation}: {row}")


def _without_checks(item: Any) -> dict[str, Any]:
    return {
        name: value
        for name, value in item.items()
        if name != "unsent" and not name.startswith("check")
    }
