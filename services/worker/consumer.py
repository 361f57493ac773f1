"""The poll loop: receives only what it can start at once, and goes away politely."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue

import structlog

from services.common.errors import AwsError, QueueUnavailable
from services.common.task_queue import MAX_MESSAGES_PER_CALL, Message, TaskQueue
from services.worker.health import HealthFile

log = structlog.get_logger()

SLOT_WAIT_S = 1.0
"""How long one round waits for a free slot; a busy worker makes rounds too."""
RECEIVE_RETRY_S = 5.0
"""The longest wait after a receive that failed, on top of boto3's own retries; jittered."""


class Consumer:
    """Runs `process` on up to `concurrency` messages at once, each in a thread of its own.

    `process` raises ``AwsError`` when its message shall come back by itself. `longest_task_s` is
    the most that one task may take; one that takes longer is stuck, and the worker unhealthy.
    `jitter` gives a number in [0, 1).
    """

    def __init__(
        self,
        *,
        queue: TaskQueue,
        process: Callable[[Message], None],
        concurrency: int,
        receive_wait_s: int,
        longest_task_s: float,
        health: HealthFile,
        jitter: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._process = process
        self._concurrency = concurrency
        self._receive_wait_s = receive_wait_s
        self._longest_task_s = longest_task_s
        self._health = health
        self._jitter = jitter
        self._stops: SimpleQueue[None] = SimpleQueue()
        """Empty until ``stop``. Unlike an Event's, its methods may interrupt one another."""
        self._changed = threading.Condition()
        self._running: dict[Message, float] = {}
        """Messages under way, and when each was started on the monotonic clock."""

    def run(self) -> None:
        """Consume until ``stop``; returns when the poll in flight is drained."""
        while not self._is_stopped():
            if not self._stuck():
                self._health.note_round()
            messages = self._receive(self._wait_for_free_slots())
            if self._is_stopped():
                self._return_messages(messages)
                return
            for message in messages:
                self._start(message)

    def stop(self) -> None:
        """Receive nothing more. Safe to call from a signal handler."""
        self._stops.put(None)

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Wait for the messages under way; False when some still are after `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, timeout=timeout_s)

    def _is_stopped(self) -> bool:
        return not self._stops.empty()

    def _stuck(self) -> bool:
        now = time.monotonic()
        with self._changed:
            longest = max((now - started for started in self._running.values()), default=0.0)
        return longest > self._longest_task_s

    def _wait_for_free_slots(self) -> int:
        with self._changed:
            self._changed.wait_for(
                lambda: len(self._running) < self._concurrency, timeout=SLOT_WAIT_S
            )
            return self._concurrency - len(self._running)

    def _receive(self, free_slots: int) -> Sequence[Message]:
        if not free_slots or self._is_stopped():
            return ()
        try:
            return self._queue.receive(
                limit=min(free_slots, MAX_MESSAGES_PER_CALL), wait_s=self._receive_wait_s
            )
        except QueueUnavailable:
            log.exception("receive failed")
            self._pause(RECEIVE_RETRY_S * self._jitter())
            return ()

    def _pause(self, seconds: float) -> None:
        with suppress(Empty):
            self._stops.put(self._stops.get(timeout=seconds))

    def _return_messages(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        try:
            self._queue.return_messages(messages)
        except QueueUnavailable:
            log.exception("messages not put back")

    def _start(self, message: Message) -> None:
        with self._changed:
            self._running[message] = time.monotonic()
        name = f"task-{message.task_id}"
        threading.Thread(target=self._work, args=(message,), name=name, daemon=True).start()

    def _work(self, message: Message) -> None:
        try:
            self._process(message)
        except AwsError:
            log.exception("message left", task_id=message.task_id)
        except Exception:  # the outermost loop of this thread: the message comes back by itself
            log.exception("message left after an unexpected error", task_id=message.task_id)
        finally:
            with self._changed:
                del self._running[message]
                self._changed.notify_all()
