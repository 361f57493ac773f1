"""The leases of the tasks in progress, extended by heartbeats.

A heartbeat extends the lease on the row first and the message's visibility timeout second, so that
a message is never hidden by a worker without a lease. All heartbeats are sent in parallel, so that
a call that hangs costs no other task its lease.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta

import structlog

from services.common.errors import AwsError, LeaseLost
from services.common.task import Task
from services.common.task_queue import Message, TaskQueue
from services.common.task_table import TaskTable
from services.worker.interrupt import Interrupt

log = structlog.get_logger()


class Lease:
    """The right to work on one task until the lease ends."""

    def __init__(self, claim: Task, message: Message) -> None:
        self.claim = claim
        self.message = message
        self.ended = False
        """No heartbeat and no further stage follows. The row's condition rejects later writes."""
        self.finishing = False
        """The attempt's last write has started. A heartbeat that fails now has lost nothing."""
        self.interrupt = Interrupt()
        """Set when the lease is lost, so that the attempt wastes no more time and CPU."""
        self.lock = threading.Lock()
        """Held during a heartbeat and while the lease ends, so that no heartbeat follows."""

    def check(self) -> None:
        """Raise ``LeaseLost`` if the lease has ended."""
        if self.ended:
            raise LeaseLost("The lease was lost while the task was running.")


class LeaseKeeper:
    """Holds the leases of running tasks and releases all of them on request.

    `concurrency` is the maximum number of running tasks.
    """

    def __init__(
        self,
        *,
        table: TaskTable,
        queue: TaskQueue,
        concurrency: int,
        duration: timedelta,
        interval: timedelta,
        clock: Callable[[], datetime],
    ) -> None:
        self._table = table
        self._queue = queue
        self._duration = duration
        self._interval = interval
        self._clock = clock
        self._held: set[Lease] = set()
        self._held_lock = threading.Lock()
        self._executor = ThreadPoolExecutor(concurrency, thread_name_prefix="lease")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self._executor.shutdown()

    def next_expiry(self) -> datetime:
        """The end of a lease that is taken or extended now."""
        return self._clock() + self._duration

    @contextmanager
    def hold(self, claim: Task, message: Message) -> Iterator[Lease]:
        """Keep the lease during the block. Afterwards no heartbeat changes the row or message."""
        lease = Lease(claim, message)
        with self._held_lock:
            self._held.add(lease)
        try:
            yield lease
        finally:
            with self._held_lock:
                self._held.discard(lease)
            with lease.lock:
                lease.ended = True

    def release_all(self) -> int:
        """End the lease of every running task and show its message again.

        Returns the number of released tasks. A task that cannot be released becomes available when
        its lease ends.
        """
        return sum(self._executor.map(self._release, self._snapshot()))

    def heartbeat(self) -> Sequence[Future[None]]:
        """Start extending all held leases, except those whose last heartbeat still hangs."""
        return [self._executor.submit(self._heartbeat, lease) for lease in self._snapshot()]

    def _release(self, lease: Lease) -> bool:
        with lease.lock:
            if lease.ended:
                return False
            lease.ended = True
            try:
                self._table.release(lease.claim, now=self._clock())
                self._queue.change_visibility(lease.message, timeout_s=0)
            except LeaseLost as lost:  # the task may also have ended
                log.info("task not released", task_id=lease.claim.task_id, reason=str(lost))
                return False
            except AwsError:
                log.exception("task not released", task_id=lease.claim.task_id)
                return False
            log.info("task released", task_id=lease.claim.task_id)
            return True

    def _heartbeat(self, lease: Lease) -> None:
        if not lease.lock.acquire(blocking=False):
            return  # the last heartbeat hangs, or the lease is ending
        try:
            if not lease.ended:
                self._extend(lease)
        finally:
            lease.lock.release()

    def _extend(self, lease: Lease) -> None:
        try:
            self._table.extend(lease.claim, lease_until=self.next_expiry(), now=self._clock())
            self._queue.change_visibility(lease.message, timeout_s=self._duration.total_seconds())
        except LeaseLost as lost:
            lease.ended = True
            lease.interrupt.set()
            if not lease.finishing:
                log.warning("lease lost", task_id=lease.claim.task_id, reason=str(lost))
        except Exception:
            # After an AWS error, the lease lasts until the next heartbeat tries again. Other errors
            # are logged here because no caller reads the future's result.
            log.exception("heartbeat failed", task_id=lease.claim.task_id)

    def _snapshot(self) -> list[Lease]:
        with self._held_lock:
            return list(self._held)

    def _run(self) -> None:
        while not self._stop.wait(self._interval.total_seconds()):
            try:
                self.heartbeat()
            except Exception:  # the outermost loop of this thread, which must not end
                log.exception("heartbeats not started")
