"""Asking a host more slowly while it answers 429 or 503, across all processes of a container.

Each answer raises the rate of requests a little, and a refusal lowers it to a little less than the
rate at which the host has lately answered. A task whose turn is not near is given back.

The state of a host is a small file in a folder that the processes share. It exists only while the
host is paced, so that a fetch from any other host costs one look at the file system.
"""

import fcntl
import hashlib
import math
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path

from services.common.errors import SourceDeferred

FIRST_RATE = 1.0
"""Requests per second after the first refusal, when it is unknown how many the host answers."""
MIN_RATE = 0.5
"""A host that is down is asked this often, to notice that it is back."""
FASTER = 1.1
"""Factor of the rate after an answer. A host that refuses fewer than about one in ten requests,
however slowly they come, is hardly slowed down."""
BELOW_ANSWERED = 0.9
"""Share of the rate of answers that a refusal leaves."""
ANSWERS_MEMORY_S = 10.0
"""Time constant of the average rate of answers."""
FORGET_AFTER_S = 300.0
"""How long after its last refusal a host is paced."""
MAX_PAUSE_S = 300.0
"""The longest time for which one ``Retry-After`` stops all requests to its host. Then another task
tries."""
MAX_TURN_WAIT_S = 1.0
"""How long a task waits for its turn in its slot."""
MAX_DEFERRAL_S = 300.0
"""The longest deferral: as long as a message waits hidden in the queue."""
CROWDING = 4.0
"""How many tasks come back for one turn. More than one, because the rate may rise meanwhile."""

_STATE = struct.Struct("8d")
"""The fields of ``Pace`` in a file."""
_LOCK_TRIES = 10
_LOCK_RETRY_S = 0.005
"""The lock is held for microseconds. A frozen process must not stop the others."""


@dataclass(slots=True)
class Pace:
    """The state of a paced host. Times are in seconds since the epoch."""

    rate: float
    """Requests per second."""
    answer_rate: float
    """Answers per second at ``answered_at``, after which it decays."""
    answered_at: float
    next_turn: float
    paused_until: float
    deferred_until: float
    """When the task that was deferred last comes back."""
    slowed_at: float
    refused_at: float

    @classmethod
    def first(cls, now: float) -> "Pace":
        return cls(FIRST_RATE, FIRST_RATE, now, now + 1 / FIRST_RATE, now, now, now, now)

    def is_over(self, now: float) -> bool:
        """Whether the last refusal is long ago. A clock that was set back ends it as well."""
        return not 0 <= now - self.refused_at <= FORGET_AFTER_S

    def take_turn(self, now: float) -> float | None:
        """The time of the next request, or None if it is not near."""
        turn = max(now, self.next_turn, self.paused_until)
        if turn - now > MAX_TURN_WAIT_S:
            return None
        self.next_turn = turn + 1 / self.rate
        return turn

    def defer(self, now: float) -> float:
        """How long the task that finds no turn waits, in seconds: behind those deferred before."""
        next_turn = max(now, self.next_turn, self.paused_until)
        self.deferred_until = max(next_turn, self.deferred_until) + 1 / (CROWDING * self.rate)
        return min(self.deferred_until - now, MAX_DEFERRAL_S)

    def answer(self, now: float) -> None:
        self.answer_rate = self._answer_rate(now) + 1 / ANSWERS_MEMORY_S
        self.answered_at = now
        self.rate *= FASTER

    def refuse(self, now: float, *, asked_at: float, pause_s: float) -> None:
        """Slow down, unless the request is older than the last slowing and says nothing new."""
        self.refused_at = now
        self.paused_until = max(self.paused_until, now + min(pause_s, MAX_PAUSE_S))
        if asked_at > self.slowed_at:
            self.slowed_at = now
            self.rate = max(MIN_RATE, min(self.rate, BELOW_ANSWERED * self._answer_rate(now)))
            self.next_turn = max(self.next_turn, now + 1 / self.rate)

    def _answer_rate(self, now: float) -> float:
        return self.answer_rate * math.exp((self.answered_at - now) / ANSWERS_MEMORY_S)


class HostPacer:
    """Thread-safe. Several processes may share `folder`. `clock` is in seconds since the epoch."""

    def __init__(
        self,
        folder: Path,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._sleep = sleep
        self._swept_at = clock()

    def wait_for_turn(self, host: str) -> float:
        """Wait until `host` may be asked, and return that time. Raises SourceDeferred."""
        now = self._clock()
        with self._pace(host, now) as pace:
            turn = pace.take_turn(now) if pace else now
            deferral_s = pace.defer(now) if pace and turn is None else 0.0
        if turn is None:
            raise SourceDeferred(
                "The image's server receives more requests than it answers, so this one waits.",
                retry_after_s=deferral_s,
            )
        if turn > now:
            self._sleep(turn - now)
        return turn

    def answered(self, host: str) -> None:
        """The host neither answered 429 nor 503."""
        now = self._clock()
        with self._pace(host, now) as pace:
            if pace:
                pace.answer(now)

    def refused(self, host: str, *, asked_at: float, retry_after_s: float | None) -> None:
        """The host answered 429 or 503 to a request of the time `asked_at`."""
        now = self._clock()
        self._forget_old_hosts(now)
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._pace(host, now, first=Pace.first(now)) as pace:
            if pace:
                pace.refuse(now, asked_at=asked_at, pause_s=retry_after_s or 0.0)

    @contextmanager
    def _pace(self, host: str, now: float, *, first: Pace | None = None) -> Iterator[Pace | None]:
        """The pace of a host, locked until its changes are stored. `first` is that of a new host.

        None if the host is not paced, or if a frozen process holds the lock.
        """
        path = self._folder / hashlib.sha256(host.encode()).hexdigest()[:32]
        with ExitStack() as at_exit:
            file = _open_locked(path, at_exit, create=first is not None)
            pace = _read(file) if file is not None else None
            if file is not None and (pace is None or pace.is_over(now)):
                pace = first
                if pace is None:
                    path.unlink(missing_ok=True)
            yield pace
            if file is not None and pace is not None:
                os.pwrite(file, _STATE.pack(*astuple(pace)), 0)

    def _forget_old_hosts(self, now: float) -> None:
        """Delete the files of hosts that no task has asked for a while."""
        if now - self._swept_at < FORGET_AFTER_S:
            return
        self._swept_at = now
        for path in self._folder.glob("*"):
            with suppress(FileNotFoundError):  # another process deleted it
                if now - path.stat().st_mtime > FORGET_AFTER_S:
                    path.unlink()


def _open_locked(path: Path, at_exit: ExitStack, *, create: bool) -> int | None:
    """A descriptor of the locked file. None if there is no file, or no lock within 50 ms."""
    try:
        file = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
    except FileNotFoundError:
        return None
    at_exit.callback(os.close, file)
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_RETRY_S)
        else:
            return file
    return None


def _read(file: int) -> Pace | None:
    """The stored pace. None in a new file."""
    data = os.pread(file, _STATE.size, 0)
    return Pace(*_STATE.unpack(data)) if len(data) == _STATE.size else None
