"""The poll loop: receives no more messages than it can start, and stops gracefully."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue

import structlog

from services.common.errors import AwsError, QueueUnavailable
from services.common.task_queue import MAX_MESSAGES_PER_CALL, Message, TaskQueue

log = structlog.get_logger()

SLOT_WAIT_S = 1.0
"""How long an iteration waits for a free slot. A busy worker must report progress."""
RECEIVE_RETRY_S = 5.0
"""The longest pause after a failed receive, in addition to boto3's retries. It is jittered."""


class Consumer:
    """Runs `process` on up to `concurrency` messages at the same time, each in its own thread.

    `process` raises ``AwsError`` to have its message redelivered. Each iteration calls
    `report_progress`, unless a task runs longer than `max_task_s`: such a task is stuck and makes
    the worker unhealthy. `jitter` returns a number in [0, 1).
    """

    def __init__(
        self,
        *,
        queue: TaskQueue,
        process: Callable[[Message], None],
        concurrency: int,
        receive_wait_s: int,
        max_task_s: float,
        report_progress: Callable[[], None],
        jitter: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._process = process
        self._concurrency = concurrency
        self._receive_wait_s = receive_wait_s
        self._max_task_s = max_task_s
        self._report_progress = report_progress
        self._jitter = jitter
        self._stops: SimpleQueue[None] = SimpleQueue()
        """Empty until ``stop``. Its ``put`` is reentrant, so a signal handler may call it; the
        methods of an Event are not."""
        self._changed = threading.Condition()
        self._running: dict[Message, float] = {}
        """The messages in progress, each with its start on the monotonic clock."""

    def run(self) -> None:
        """Consume until ``stop``. Return after the current poll has ended."""
        while not self._is_stopped():
            if not self._is_stuck():
                self._report_progress()
            messages = self._receive(self._wait_for_free_slots())
            if self._is_stopped():
                self._return_messages(messages)
                return
            for message in messages:
                self._start(message)

    def stop(self) -> None:
        """Stop receiving. A signal handler may call this."""
        self._stops.put(None)

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Wait for the messages in progress. Return False if some remain after `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, timeout=timeout_s)

    def _is_stopped(self) -> bool:
        return not self._stops.empty()

    def _is_stuck(self) -> bool:
        now = time.monotonic()
        with self._changed:
            longest_s = max((now - started for started in self._running.values()), default=0.0)
        return longest_s > self._max_task_s

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
            log.exception("messages not returned")

    def _start(self, message: Message) -> None:
        with self._changed:
            self._running[message] = time.monotonic()
        name = f"task-{message.task_id}"
        threading.Thread(target=self._work, args=(message,), name=name, daemon=True).start()

    def _work(self, message: Message) -> None:
        try:
            self._process(message)
        except AwsError:
            log.exception("message processing failed", task_id=message.task_id)
        except Exception:  # the outermost loop of this thread; the message is redelivered
            log.exception("message processing failed unexpectedly", task_id=message.task_id)
        finally:
            with self._changed:
                del self._running[message]
                self._changed.notify_all()
