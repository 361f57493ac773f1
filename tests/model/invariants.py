"""The promises, stated independently: no rule here is derived from the services.

The checker sees every write, put, send and delete as it happens. It collects violations instead of
raising errors, because an error would surface inside the actor that made the call.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime
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
MAX_RESENDS = 8
"""How often the reconciler may resend a task because its message seems lost. The gap between checks
quadruples up to the deadline, a day later."""


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
        self._rows: dict[str, Task] = {}
        self._retries: Counter[str] = Counter()
        """How often a client has retried each task."""
        self._retries_at_send: dict[str, int] = {}
        """The number of retries of its task when each message was sent."""
        self._clock = clock

    # ── Events ────────────────────────────────────────────────────────────────────────────────

    def on_write(self, before: Item | None, after: Item) -> None:
        new = from_item(after)
        old = from_item(before) if before is not None else None
        if old is None:
            is_new = state_of(new) == "PENDING" and new.attempt == 0
            self._require(new, is_new, "is created in another state")
            self.allowed_sends[new.task_id] += 1 + MAX_RESENDS
        elif _without_checks(before) == _without_checks(after):
            if new.unsent and not old.unsent:
                self.allowed_sends[new.task_id] += 1
        else:
            self._on_move(old, new)
        self._require(new, new.attempt <= new.attempt_limit, "exceeds its attempt limit")
        self._rows[new.task_id] = new

    def _on_move(self, old: Task, new: Task) -> None:
        move = (state_of(old), state_of(new))
        self._require(new, move in LEGAL_MOVES, f"moves from {move[0]} to {move[1]}")
        for name in ("owner", "request_hash", "input_image_url", "created_at", "operations"):
            self._require(new, getattr(old, name) == getattr(new, name), f"changes its {name}")
        if new.attempt != old.attempt:
            self._require(new, new.attempt == old.attempt + 1, "skips an attempt")
            self._require(new, move[1] == "RUNNING", "counts an attempt without a claim")
            self._require(new, not self._is_leased(old), "is claimed under a valid lease")
        elif move == ("RUNNING", "RUNNING"):
            keeps_owner = new.lease_owner in {old.lease_owner, None}
            self._require(new, keeps_owner, "changes its lease owner without a claim")
        if move[1] == "PENDING":
            self._retries[new.task_id] += 1
            self.allowed_sends[new.task_id] += 1 + MAX_RESENDS
            self._require(new, new.attempt_limit > new.attempt, "is retried without an attempt")
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

    def on_send(self, message: StoredMessage) -> None:
        task_id = json.loads(message.body)["taskId"]
        self.sends[task_id] += 1
        self._retries_at_send[message.message_id] = self._retries[task_id]
        if task_id not in self._rows:
            self.violations.append(f"{task_id} is sent before its row is written")

    def on_delete(self, url: str, message: StoredMessage) -> None:
        """Require that the task is final, or was final at some time since the message was sent.

        An operator may delete the dead letter of an open task, which the reconciler still knows.
        """
        if url == DEAD_LETTER_QUEUE_URL:
            return
        row = self._rows[json.loads(message.body)["taskId"]]
        was_final = self._retries[row.task_id] > self._retries_at_send[message.message_id]
        self._require(
            row, state_of(row) in FINAL or was_final, "loses its message while it is open"
        )

    # ── State ─────────────────────────────────────────────────────────────────────────────────

    def check(self) -> None:
        """Raise AssertionError if any promise is broken. May be called at any time."""
        for task_id in self.acknowledged - self._rows.keys():
            self.violations.append(f"{task_id} is acknowledged but has no row")
        for task_id, row in self._rows.items():
            if state_of(row) == "COMPLETED":
                self._check_result(row)
            sends, allowed = self.sends[task_id], self.allowed_sends[task_id]
            if sends > allowed + self.unconfirmed_sends:
                self.violations.append(
                    f"{task_id} was sent {sends} times, {allowed + self.unconfirmed_sends} allowed"
                )
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
    """The row without what the reconciler goes by, which changes without a move."""
    return {
        name: value
        for name, value in item.items()
        if not name.startswith("check") and name != "unsent"
    }
