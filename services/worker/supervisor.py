"""Runs the consumer processes of a container: starts, restarts and stops them.

Python runs one thread of a process at a time, so a container needs one process for each vCPU.
"""

import select
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import structlog

from services.worker.consumer_process import ConsumerProcess
from services.worker.health import HealthFile
from services.worker.stop_signal import StopSignal

log = structlog.get_logger()

HEALTH_INTERVAL_S = 1.0
"""How often the health file is written."""
RESTART_DELAY_S = 1.0
"""Pause before a consumer process is restarted. It doubles with each further death, up to the
maximum, so that a process that always dies leaves the CPU to the others."""
MAX_RESTART_DELAY_S = 30.0
STABLE_AFTER_S = 60.0
"""A process that ran this long was not restarted in vain, and the pause is short again."""


class Supervisor:
    """`command` starts one consumer process; see ``ConsumerProcess``.

    The processes have their temporary files in folders inside `scratch`.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        consumers: int,
        health: HealthFile,
        scratch: Path,
        stop: StopSignal,
    ) -> None:
        self._slots = [
            _Slot(command, scratch=scratch / f"consumer-{number}")
            for number in range(1, consumers + 1)
        ]
        self._health = health
        self._health_written_at = 0.0
        self._stop = stop

    def run(self) -> int:
        """Supervise until the stop signal, then wait until every consumer has drained.

        Returns 0 if all of them exited with 0. If a consumer ends before its first poll, the
        container cannot work: the others drain, and the result is 1.
        """
        while not self._stop.is_received() and not self._has_failed():
            for slot in self._slots:
                slot.start_if_due()
            self._wait_for_news()
            for slot in self._slots:
                slot.check()
            self._write_health()
        have_drained = self._drain()
        return 0 if have_drained and not self._has_failed() else 1

    def _has_failed(self) -> bool:
        return any(slot.has_failed for slot in self._slots)

    def _wait_for_news(self) -> None:
        awaited: list[StopSignal | ConsumerProcess] = [self._stop, *self._processes()]
        select.select(awaited, [], [], HEALTH_INTERVAL_S)

    def _processes(self) -> Sequence[ConsumerProcess]:
        return [slot.process for slot in self._slots if slot.process is not None]

    def _write_health(self) -> None:
        """Write the time of the consumer that has been silent longest, once all have polled."""
        now = time.monotonic()
        polled_at = [slot.polled_at for slot in self._slots if slot.polled_at is not None]
        if (
            len(polled_at) == len(self._slots)
            and now - self._health_written_at >= HEALTH_INTERVAL_S
        ):
            self._health.write(min(polled_at))
            self._health_written_at = now

    def _drain(self) -> bool:
        """Stop all consumers together. Return whether all of them stopped as they should."""
        processes = self._processes()
        for process in processes:
            process.terminate()
        # A process that the signal killed did not handle it yet, so it had no task.
        return {process.wait() for process in processes} <= {0, -signal.SIGTERM}


class _Slot:
    """The place of one consumer: its process, or the time when the next one starts."""

    def __init__(self, command: Sequence[str], *, scratch: Path) -> None:
        self._command = command
        self._scratch = scratch
        self._start_at = 0.0
        self._delay_s = RESTART_DELAY_S
        self.process: ConsumerProcess | None = None
        self.polled_at: float | None = None
        """When a process of this slot last made progress."""
        self.has_failed = False
        """The first process ended before its first poll."""

    def start_if_due(self) -> None:
        if self.process is None and time.monotonic() >= self._start_at:
            self.process = ConsumerProcess(self._command, scratch=self._scratch)

    def check(self) -> None:
        """Read the process's reports, and plan a restart if it has ended."""
        if self.process is None:
            return
        is_running = self.process.is_running()
        self.polled_at = self.process.polled_at or self.polled_at
        if not is_running:
            self.has_failed = self.polled_at is None
            self._plan_restart(self.process)

    def _plan_restart(self, ended: ConsumerProcess) -> None:
        self.process = None
        now = time.monotonic()
        if now - ended.started_at >= STABLE_AFTER_S:
            self._delay_s = RESTART_DELAY_S
        log.error("consumer ended", exit_code=ended.wait(), restart_in_s=self._delay_s)
        self._start_at = now + self._delay_s
        self._delay_s = min(2 * self._delay_s, MAX_RESTART_DELAY_S)
