"""The peak memory of the child processes of this process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

INTERVAL_S = 0.02


class PeakMemory:
    """Reads the kernel's peak (``VmHWM``) of each child while the child lives.

    The peak that the kernel reports of an exited child is useless: after vfork, it includes the
    parent's.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._own_command = Path("/proc/self/cmdline").read_bytes()

    def sample(self) -> None:
        for child in psutil.Process().children():
            try:
                process = Path(f"/proc/{child.pid}")
                if (process / "cmdline").read_bytes() == self._own_command:
                    continue  # between vfork and exec, it shares this process's memory
                status = (process / "status").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has exited
            for line in status.splitlines():
                if line.startswith("VmHWM:"):
                    self.bytes = max(self.bytes, int(line.split()[1]) * 1024)


@contextmanager
def peak_memory_of_children() -> Iterator[PeakMemory]:
    """Sample the peak memory during the ``with`` block."""
    peak, stop = PeakMemory(), threading.Event()

    def watch() -> None:
        while not stop.wait(INTERVAL_S):
            peak.sample()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        stop.set()
        watcher.join()
