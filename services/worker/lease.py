"""The leases of the tasks under way, kept alive by heartbeats.

A beat extends the lease on the row first and the message's visibility second: a message is never
kept from others without the right to the task. All leases beat at once and none waits for another,
so that a call which hangs costs no other task its lease.
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

log = structlog.get_logger()


class Lease:
    """The right to one task, as long as it holds."""

    def __init__(self, claim: Task, message: Message) -> None:
        self.claim = claim
        self.message = message
        self.ended = False
        """No beat follows, and no further stage; the row's own fence stops a write that does."""
        self.finishing = False
        """True from the attempt's last write on: a beat that meets its effect has lost nothing."""
        self.lock = threading.Lock()
        """Held for each beat and for ending, so that no beat follows the end."""

    def check(self) -> None:
        """Raise ``LeaseLost`` when there is no point in going on."""
        if self.ended:
            raise LeaseLost("The lease was lost while the task was under way.")


class LeaseKeeper:
    """Holds leases for as long as their tasks run, and gives all of them back on request.

    `at_once` is how many tasks may be under way.
    """

    def __init__(
        self,
        *,
        table: TaskTable,
        queue: TaskQueue,
        at_once: int,
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
        self._each = ThreadPoolExecutor(at_once, thread_name_prefix="lease")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_stopped, name="lease", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self._each.shutdown()

    def until(self) -> datetime:
        """When a lease taken or extended now ends."""
        return self._clock() + self._duration

    @contextmanager
    def holding(self, claim: Task, message: Message) -> Iterator[Lease]:
        """Keep the lease while the block runs; afterwards no beat touches row or message."""
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
        """Give back every task under way: end its lease under the fence, then show its message.

        Returns how many. One that cannot be given back comes back by itself when its lease ends.
        """
        return sum(self._each.map(self._release, self._snapshot()))

    def beat(self) -> Sequence[Future[None]]:
        """Begin to extend every lease that is held now, but one whose last beat still hangs."""
        return [self._each.submit(self._beat_once, lease) for lease in self._snapshot()]

    def _release(self, lease: Lease) -> bool:
        with lease.lock:
            if lease.ended:
                return False
            lease.ended = True
            try:
                self._table.release(lease.claim, now=self._clock())
                self._queue.change_visibility(lease.message, timeout_s=0)
            except LeaseLost as lost:  # or it has come to its end by itself
                log.info("task not given back", task_id=lease.claim.task_id, reason=str(lost))
                return False
            except AwsError:
                log.exception("task not given back", task_id=lease.claim.task_id)
                return False
            log.info("task given back", task_id=lease.claim.task_id)
            return True

    def _beat_once(self, lease: Lease) -> None:
        if not lease.lock.acquire(blocking=False):
            return  # its last beat hangs, or its end is under way
        try:
            if not lease.ended:
                self._extend(lease)
        finally:
            lease.lock.release()

    def _extend(self, lease: Lease) -> None:
        try:
            self._table.extend(lease.claim, lease_until=self.until(), now=self._clock())
            self._queue.change_visibility(lease.message, timeout_s=self._duration.total_seconds())
        except LeaseLost as lost:
            lease.ended = True
            if not lease.finishing:
                log.warning("lease lost", task_id=lease.claim.task_id, reason=str(lost))
        except Exception:
            # Of AWS: the lease outlasts a missed beat or two, and the next one tries again.
            # Anything else is logged here as nobody looks at what becomes of a beat.
            log.exception("heartbeat failed", task_id=lease.claim.task_id)

    def _snapshot(self) -> list[Lease]:
        with self._held_lock:
            return list(self._held)

    def _beat_until_stopped(self) -> None:
        while not self._stop.wait(self._interval.total_seconds()):
            try:
                self.beat()
            except Exception:  # the outermost loop of this thread, which must not die
                log.exception("heartbeats not begun")
