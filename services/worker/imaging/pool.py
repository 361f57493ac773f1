"""A pool of imaging child processes, shared by the threads of the worker."""

import queue
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import structlog

from services.common.errors import (
    ImageError,
    ImageTooComplex,
    ImagingBusy,
    ImagingCrashed,
    ImagingTimeout,
)
from services.worker.imaging import sandbox
from services.worker.imaging.child_process import ChildExited, ChildProcess
from services.worker.imaging.handler import ResultImage
from services.worker.imaging.limits import ImagingLimits
from services.worker.interrupt import Interrupt

log = structlog.get_logger()

MAX_WAIT_S: Final = 20
"""How long an image waits for a free child before its task is given back."""
BUSY_RETRY_S: Final = 15
"""How long a task waits that found no free child. Other workers may have one sooner."""

START_TIMEOUT_S: Final = 60
"""A child takes 0.2 s of CPU time to start. Many at once on a small machine take longer."""

IMAGES_PER_CHILD: Final = 1000
"""A child is replaced after this many images, so that leaks and fragmented memory take little of
the memory limit. Replacing it costs 0.2 ms per image."""

WAIT_SMOOTHING: Final = 0.1
"""Weight of the latest image in the average of the waits."""

IMAGE_HANDLER: Final = "services.worker.imaging.pipeline:load_handler"


class ImagingPool:
    """Processes images, each in a sandboxed child process.

    Each child has a slot, a connection that no other child shares, and at most one caller at a
    time. A child that crashes, hangs or is killed therefore fails only its own image, and its slot
    starts a new child. An idle pool has no threads and uses no CPU time.
    """

    def __init__(
        self,
        *,
        limits: ImagingLimits,
        processes: int,
        loader: str = IMAGE_HANDLER,
        images_per_child: int = IMAGES_PER_CHILD,
        max_wait_s: float = MAX_WAIT_S,
    ) -> None:
        """``loader`` names the ``HandlerLoader`` that the children run, as ``module:function``.

        A caller waits for a free child for ``max_wait_s`` at most.
        """
        self._max_wait_s = max_wait_s
        self._slots = [
            _Slot(limits=limits, loader=loader, images_per_child=images_per_child)
            for _ in range(processes)
        ]
        # Last in, first out: a few callers reuse a few children, whose memory stays in the caches.
        self._free: queue.LifoQueue[_Slot] = queue.LifoQueue()
        for slot in self._slots:
            self._free.put(slot)
        self._recent_wait_s = 0.0

    def start(self) -> None:
        """Start all children and wait until they are ready.

        From now on, other processes of the same user cannot inspect this one. Raises
        ``ImagingCrashed`` with a note when a child cannot be started or confined.
        """
        if not sandbox.IS_LINUX:
            log.warning("imaging processes have limits but no sandbox", platform=sys.platform)
        sandbox.make_non_dumpable()
        deadline = time.monotonic() + START_TIMEOUT_S
        try:
            for slot in self._slots:
                slot.start()
            for slot in self._slots:
                slot.wait_until_ready(deadline=deadline)
        except BaseException:
            self.stop()
            raise

    def process(
        self,
        source: Path,
        recipe: Mapping[str, Any],
        *,
        timeout_s: float,
        interrupt: Interrupt,
    ) -> ResultImage:
        """Make a result of the image in the file ``source``, by the members of a ``Recipe``.

        ``timeout_s`` is wall-clock time, from when the image has a child. It should be well above
        the CPU time that ``limits`` allows. Otherwise an image that never stops computing counts as
        a slow machine. ``interrupt`` kills the child. Thread-safe. Raises ``ImagingBusy``, or
        ``ImageError`` with the child's traceback as a note.
        """
        started = time.monotonic()
        try:
            slot = self._free.get(timeout=max(0.0, min(timeout_s, self._max_wait_s)))
        except queue.Empty as busy:
            raise ImagingBusy(
                "No imaging process became free in time.", retry_after_s=BUSY_RETRY_S
            ) from busy
        finally:
            self._note_wait(time.monotonic() - started)
        try:
            deadline = time.monotonic() + timeout_s
            with source.open("rb") as file, interrupt.calling(slot.interrupt):
                return slot.process(file.fileno(), recipe, deadline=deadline)
        finally:
            self._free.put(slot)

    def recent_wait_s(self) -> float:
        """How long images have recently waited for a free child, on average."""
        return self._recent_wait_s

    def cpu_s(self) -> float:
        """CPU time of the living children, so far as the system reports it."""
        return sum(slot.cpu_s() for slot in self._slots)

    def stop(self) -> None:
        """Kill all children. An image in progress fails with ``ImagingCrashed``."""
        for slot in self._slots:
            slot.stop()
        for _ in self._slots:
            self._free.get().close()  # waits until the slot's caller has noticed

    def _note_wait(self, wait_s: float) -> None:
        # Two threads may note at once. A value that gets lost does not change the average much.
        self._recent_wait_s += WAIT_SMOOTHING * (wait_s - self._recent_wait_s)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class _Slot:
    """Holds one child. One thread uses it at a time, and any thread may call ``stop``."""

    def __init__(self, *, limits: ImagingLimits, loader: str, images_per_child: int) -> None:
        self._limits = limits
        self._loader = loader
        self._images_per_child = images_per_child
        self._images = 0
        self._child: ChildProcess | None = None
        self._stopped = False
        self._lock = threading.Lock()
        """Held while the child is replaced or stopped."""

    def start(self) -> None:
        self._replace_child()

    def wait_until_ready(self, *, deadline: float) -> None:
        self._require_child().wait_until_ready(deadline=deadline)

    def process(
        self,
        source: int,
        recipe: Mapping[str, Any],
        *,
        deadline: float,
    ) -> ResultImage:
        may_stay = False
        try:
            image = self._process(source, recipe, deadline)
            may_stay = True
        except ImageError as error:
            may_stay = not isinstance(error, (ImageTooComplex, ImagingCrashed, ImagingTimeout))
            raise
        else:
            return image
        finally:
            # Only a child that has replied is in step. After a MemoryError in this process, say, it
            # may still reply to this image while the next one waits.
            self._images += 1  # also after an error, which a compromised child may have made up
            if not may_stay or self._images >= self._images_per_child:
                self._replace_child()  # the new one starts before the next caller needs it

    def interrupt(self) -> None:
        """Kill the child, whose image is no longer needed. Any thread may call this."""
        with self._lock:
            if self._child is not None:
                self._child.kill()

    def cpu_s(self) -> float:
        with self._lock:
            return 0.0 if self._child is None else self._child.cpu_s()

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            if self._child is not None:
                self._child.kill()

    def close(self) -> None:
        """Call this after ``stop``, from the thread that holds the slot."""
        if self._child is not None:
            self._child.close()

    def _process(
        self,
        source: int,
        recipe: Mapping[str, Any],
        deadline: float,
    ) -> ResultImage:
        """Try a second child if the first one exited while it was idle."""
        try:
            return self._require_child().process(source, recipe, deadline=deadline)
        except ChildExited:
            self._replace_child()
        try:
            return self._require_child().process(source, recipe, deadline=deadline)
        except ChildExited as again:
            raise ImagingCrashed(
                "The imaging processes exit before they read the image."
            ) from again

    def _require_child(self) -> ChildProcess:
        if self._child is None:
            self._replace_child()
        if self._child is None:
            raise ImagingCrashed("No imaging process could be started.")
        return self._child

    def _replace_child(self) -> None:
        """Leave the slot empty if no child can be started. The next image tries again."""
        with self._lock:
            if self._child is not None:
                self._child.close()
            self._child = None
            self._images = 0
            if self._stopped:
                return
            try:
                self._child = ChildProcess(limits=self._limits, loader=self._loader)
            except OSError:
                log.exception("imaging process not started")
