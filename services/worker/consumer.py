"""The poll loop: receives no more messages than it can start, and stops gracefully.

While the queue is full, it receives ten messages with one call: it waits a moment until ten can
start. While the queue is short, it takes few at a time, because a consumer process that took them
all would leave the others idle.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Protocol

import structlog

from services.common.errors import AwsError, QueueUnavailable
from services.common.task_queue import MAX_MESSAGES_PER_CALL, Message, TaskQueue

log = structlog.get_logger()

SLOT_WAIT_S = 1.0
"""How long an iteration waits for a free slot. A busy worker must report progress."""
BATCH_WAIT_S = 0.2
"""How long a busy worker waits until ten tasks can start. A consumer process ends about a hundred
small tasks a second. An idle worker does not wait."""
MIN_RECEIVE = 2
"""How many messages a receive asks for first. The number doubles while the queue has them all."""
RECEIVE_RETRY_S = 5.0
"""The longest pause after a failed receive, in addition to boto3's retries. It is jittered."""


class AdmissionPolicy(Protocol):
    def limit(self) -> int:
        """How many tasks may run at the same time now."""

    def set_running(self, running: int) -> None:
        """Note that a task has started or ended."""


class Consumer:
    """Runs `process` on messages, each in its own thread.

    `admission` says how many run at the same time.

    `process` raises ``AwsError`` to have its message redelivered. Each iteration calls
    `report_progress`, unless a task runs longer than `max_task_s`: such a task is stuck and makes
    the worker unhealthy. `jitter` returns a number in [0, 1).
    """

    def __init__(
        self,
        *,
        queue: TaskQueue,
        process: Callable[[Message], None],
        admission: AdmissionPolicy,
        receive_wait_s: int,
        max_task_s: float,
        report_progress: Callable[[], None],
        jitter: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._process = process
        self._admission = admission
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
        self._next_receive = MIN_RECEIVE

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
        """Wait until tasks can start, and return for how many to ask."""
        limit = self._admission.limit()
        with self._changed:
            self._changed.wait_for(lambda: len(self._running) < limit, timeout=SLOT_WAIT_S)
            if self._next_receive > MIN_RECEIVE:
                # At most half of the slots, or all tasks would have to end before others start.
                batch = min(self._next_receive, max(1, limit // 2))
                self._changed.wait_for(
                    lambda: len(self._running) <= limit - batch, timeout=BATCH_WAIT_S
                )
            return max(0, limit - len(self._running))

    def _receive(self, free_slots: int) -> Sequence[Message]:
        if not free_slots or self._is_stopped():
            return ()
        asked = min(free_slots, self._next_receive)
        try:
            messages = self._queue.receive(limit=asked, wait_s=self._receive_wait_s)
        except QueueUnavailable:
            log.exception("receive failed")
            self._pause(RECEIVE_RETRY_S * self._jitter())
            return ()
        self._adapt_next_receive(asked=asked, received=len(messages))
        return messages

    def _adapt_next_receive(self, *, asked: int, received: int) -> None:
        if received == asked:
            self._next_receive = min(2 * self._next_receive, MAX_MESSAGES_PER_CALL)
        elif received < asked / 2:
            self._next_receive = MIN_RECEIVE

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
            self._admission.set_running(len(self._running))
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
                self._admission.set_running(len(self._running))
                self._changed.notify_all()
