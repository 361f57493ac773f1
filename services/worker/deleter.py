"""Deletes messages in batches of ten, because a call for ten costs what a call for one costs.

A message is deleted up to ``MAX_DELAY_S`` after its task's final write. If the process dies in
between, the message is redelivered, and the row says that nothing remains to be done.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from services.common.errors import QueueUnavailable
from services.common.task_queue import MAX_MESSAGES_PER_CALL, Message, TaskQueue

log = structlog.get_logger()

MAX_DELAY_S = 0.5
"""How long a message waits for nine others."""
MAX_TRIES = 3
"""Calls per message, in addition to boto3's retries. Afterwards the message is redelivered."""


@dataclass(slots=True)
class _Pending:
    message: Message
    since: float
    tries: int = 0


class MessageDeleter:
    """Thread-safe. `clock` is monotonic, in seconds."""

    def __init__(self, queue: TaskQueue, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._queue = queue
        self._clock = clock
        self._pending: list[_Pending] = []
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="deleter", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Delete all messages that still wait, and return after that."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()

    def delete(self, message: Message) -> None:
        """Delete the message soon. Call this only after the final write to its row."""
        with self._changed:
            self._pending.append(_Pending(message, since=self._clock()))
            self._changed.notify_all()

    def _run(self) -> None:
        while batch := self._next_batch():
            failed = self._delete(batch)
            with self._changed:
                self._pending.extend(failed)

    def _next_batch(self) -> Sequence[_Pending]:
        """Wait for ten messages, or until the first has waited long enough.

        Empty only after ``stop``.
        """
        with self._changed:
            while not self._is_due():
                self._changed.wait(self._seconds_until_due())
            batch = self._pending[:MAX_MESSAGES_PER_CALL]
            del self._pending[:MAX_MESSAGES_PER_CALL]
            return batch

    def _is_due(self) -> bool:
        is_full = len(self._pending) >= MAX_MESSAGES_PER_CALL
        return self._stopping or is_full or self._seconds_until_due() == 0

    def _seconds_until_due(self) -> float | None:
        if not self._pending:
            return None
        return max(0.0, self._pending[0].since + MAX_DELAY_S - self._clock())

    def _delete(self, batch: Sequence[_Pending]) -> Sequence[_Pending]:
        """Delete the messages. Return those that should be tried again."""
        try:
            remaining = set(self._queue.delete_batch([pending.message for pending in batch]))
        except QueueUnavailable:
            log.exception("messages not deleted", count=len(batch))
            if self._stopping:
                return ()
            remaining = {pending.message for pending in batch}
        return [
            _Pending(pending.message, since=self._clock(), tries=pending.tries + 1)
            for pending in batch
            if pending.message in remaining and pending.tries + 1 < MAX_TRIES
        ]
