"""The most memory that any child process of this one has held."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

INTERVAL_S = 0.02


class PeakMemory:
    """Reads the kernel's own high-water marks (``VmHWM``), while the children live.

    What it reports of children that have ended will not do: a process that was started by vfork has
    its parent's peak in it.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._own_command = Path("/proc/self/cmdline").read_bytes()

    def look(self) -> None:
        for child in psutil.Process().children():
            try:
                process = Path(f"/proc/{child.pid}")
                if (process / "cmdline").read_bytes() == self._own_command:
                    continue  # still in this one's memory: vfork has begun, exec is to come
                status = (process / "status").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended
            for line in status.splitlines():
                if line.startswith("VmHWM:"):
                    self.bytes = max(self.bytes, int(line.split()[1]) * 1024)


@contextmanager
def peak_memory_of_children() -> Iterator[PeakMemory]:
    """Look again and again for as long as the ``with`` lasts."""
    peak, over = PeakMemory(), threading.Event()

    def watch() -> None:
        while not over.wait(INTERVAL_S):
            peak.look()

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield peak
    finally:
        over.set()
        watching.join()
