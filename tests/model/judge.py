"""What must hold whatever happens, stated for itself: nothing here is derived from the services.

The judge sees every write, put, send and delete as it happens, and collects violations, because an
exception in the middle of an actor would be the actor's.
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
from tests.model.memory_sqs import Sent

MOVES = {
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
"""The table of legal moves of the design; RETRYING is FAILED with `willRetry`."""
OVER = {"COMPLETED", "FAILED", "CANCELED"}
QUEUE_URL, DEAD_LETTER_QUEUE_URL = "queue", "dead letters"
NEAR = timedelta(seconds=10)
LOOKS = 8
"""How often a task is sent again at most once a look was drawn near: the gaps grow fourfold, from
10 s to the day that a task has."""


def state_of(row: Task) -> str:
    return "RETRYING" if row.status is Status.FAILED and row.will_retry else str(row.status)


class Judge:
    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.violations: list[str] = []
        self.acknowledged: set[str] = set()
        self.results: dict[str, bytes] = {}
        """The bucket."""
        self.sends: Counter[str] = Counter()
        self.sends_granted: Counter[str] = Counter()
        self.sends_unheard = 0
        """Sends that took effect although nobody heard of it: each may be made again."""
        self._rows: dict[str, Task] = {}
        self._lives: Counter[str] = Counter()
        """How often each task was retried."""
        self._life_of_message: dict[str, int] = {}
        self._clock = clock

    # ── What happens ──────────────────────────────────────────────────────────────────────────

    def write(self, before: Item | None, after: Item) -> None:
        new = from_item(after)
        old = from_item(before) if before is not None else None
        if old is None:
            self._require(new, state_of(new) == "PENDING" and new.attempt == 0, "begins elsewhere")
            self.sends_granted[new.task_id] += 1 + LOOKS
        elif _without_checks(before) == _without_checks(after):
            if new.check_gap == NEAR and old.check_gap != NEAR:
                self.sends_granted[new.task_id] += LOOKS
        else:
            self._moved(old, new)
        self._require(new, new.attempt <= new.attempt_limit, "has more attempts than allowed")
        self._rows[new.task_id] = new

    def _moved(self, old: Task, new: Task) -> None:
        move = (state_of(old), state_of(new))
        self._require(new, move in MOVES, f"goes from {move[0]} to {move[1]}")
        for name in ("owner", "request_hash", "input_image_url", "created_at", "operations"):
            self._require(new, getattr(old, name) == getattr(new, name), f"changes its {name}")
        claimed = new.attempt != old.attempt
        if claimed:
            self._require(new, new.attempt == old.attempt + 1, "counts attempts wrongly")
            self._require(new, move[1] == "RUNNING", "counts an attempt that is none")
            self._require(new, not self._leased(old), "is claimed under a lease that holds")
        elif move == ("RUNNING", "RUNNING"):
            self._require(
                new, new.lease_owner in {old.lease_owner, None}, "changes hands without a claim"
            )
        if move[1] == "PENDING":
            self._lives[new.task_id] += 1
            self.sends_granted[new.task_id] += 1 + LOOKS
            self._require(new, new.attempt_limit > new.attempt, "is retried without an attempt")
        if move == ("RUNNING", "FAILED") and new.failure_code in _GIVEN_UP:
            self._require(new, not self._leased(old), "is given up under a lease that holds")
        if state_of(new) == "COMPLETED":
            self._judge_result(new)
        still_owed = state_of(new) not in OVER
        self._require(new, (new.check_at is not None) is still_owed, "is in the index or not")

    def put(self, key: str, body: bytes) -> None:
        if self.results.get(key, body) != body:
            self.violations.append(f"the result {key} is overwritten")
        self.results[key] = body

    def send(self, message: Sent) -> None:
        task_id = json.loads(message.body)["taskId"]
        self.sends[task_id] += 1
        self._life_of_message[message.message_id] = self._lives[task_id]
        if task_id not in self._rows:
            self.violations.append(f"{task_id} is sent before its row is written")

    def delete(self, url: str, message: Sent) -> None:
        """A message may go when its task is over, or has been since the message was sent.

        An operator may delete the dead letter of an open task: the reconciler knows that task.
        """
        if url == DEAD_LETTER_QUEUE_URL:
            return
        row = self._rows[json.loads(message.body)["taskId"]]
        has_been_over = self._lives[row.task_id] > self._life_of_message[message.message_id]
        self._require(
            row, state_of(row) in OVER or has_been_over, "loses its message while it is not over"
        )

    # ── What stands ───────────────────────────────────────────────────────────────────────────

    def judge(self) -> None:
        """To be asked at any moment; raises what has been found."""
        for task_id in self.acknowledged - self._rows.keys():
            self.violations.append(f"{task_id} is acknowledged and not on record")
        for task_id, row in self._rows.items():
            if state_of(row) == "COMPLETED":
                self._judge_result(row)
            enough = self.sends_granted[task_id] + self.sends_unheard
            if self.sends[task_id] > enough:
                sends = self.sends[task_id]
                self.violations.append(f"{task_id} was sent {sends} times, {enough} are enough")
        assert not self.violations, "\n".join(self.violations)

    def open_tasks(self) -> list[Task]:
        return [row for row in self._rows.values() if state_of(row) not in OVER]

    def rows(self) -> list[Task]:
        return list(self._rows.values())

    def _judge_result(self, row: Task) -> None:
        result = row.result
        if result is None:
            self.violations.append(f"{row.task_id} is COMPLETED without a result")
            return
        stored = self.results.get(result.key)
        named = stored is not None and hashlib.sha256(stored).hexdigest() == result.sha256
        self._require(row, named, "names a result that is not what is stored")
        of_attempt = result.key.startswith(f"results/{row.task_id}/{row.attempt}.")
        self._require(row, of_attempt, "names a result of another attempt")

    def _leased(self, row: Task) -> bool:
        return (
            row.status is Status.RUNNING
            and row.lease_until is not None
            and self._clock() < row.lease_until
        )

    def _require(self, row: Task, holds: bool, what: str) -> None:  # noqa: FBT001
        if not holds:
            self.violations.append(f"{row.task_id} {what}: {row}")


_GIVEN_UP = {"attempts_exhausted", "deadline_passed"}


def _without_checks(item: Any) -> dict[str, Any]:
    return {name: value for name, value in item.items() if not name.startswith("check")}
