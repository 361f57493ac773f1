"""The imaging children, and who may use which when."""

import queue
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import structlog

from services.common.errors import ImageTooComplex, ImagingCrashed, ImagingTimeout
from services.worker.imaging import sandbox
from services.worker.imaging.child import ChildGone, ImagingChild
from services.worker.imaging.limits import ImagingLimits
from services.worker.imaging.work import ResultImage

log = structlog.get_logger()

START_TIMEOUT_S: Final = 60
"""A child takes 0.2 s of CPU time to load; many at once on a small machine take longer."""

IMAGES_PER_CHILD: Final = 1000
"""Then it is replaced, which bounds what leaks and scattered free memory take from the memory
limit of later images, and costs 0.2 ms an image."""

IMAGE_WORK: Final = "services.worker.imaging.pipeline:prepare"


class ImagingPool:
    """Turns images into results, each in a process that can hurt nobody.

    Every child is a slot of its own: one caller at a time talks to it, over a connection that no
    other child has. So one that crashes, hangs or is killed fails the image that it has, and
    nothing else; its slot starts another. An idle pool has no threads and takes no CPU time.
    """

    def __init__(
        self,
        *,
        limits: ImagingLimits,
        processes: int,
        work: str = IMAGE_WORK,
        images_per_child: int = IMAGES_PER_CHILD,
    ) -> None:
        """``work`` names what the children run, an ``inside.Prepare``, as ``module:function``."""
        self._slots = [
            _Slot(limits=limits, work=work, images_per_child=images_per_child)
            for _ in range(processes)
        ]
        # Last in, first out: few callers keep few children busy, whose memory stays warm.
        self._free: queue.LifoQueue[_Slot] = queue.LifoQueue()
        for slot in self._slots:
            self._free.put(slot)

    def start(self) -> None:
        """Start all children and wait for them.

        From here on this process cannot be inspected by others of its user. Raises
        ``ImagingCrashed`` when a child cannot be started or fenced in, with the reason in a note.
        """
        if not sandbox.IS_LINUX:
            log.warning("imaging children have limits but no sandbox", platform=sys.platform)
        sandbox.hide_from_children()
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
        operations: Sequence[Mapping[str, Any]],
        output: Mapping[str, Any] | None,
        *,
        timeout_s: float,
    ) -> ResultImage:
        """The result of doing ``operations`` to the image in the file ``source``.

        ``timeout_s`` is by the clock, for waiting for a free child and for the image: to be well
        above the CPU time that ``limits`` allow, or an image that computes without end counts as
        a machine that is too slow. May be called from any number of threads. Raises
        ``ImageError``; the traceback from within the child is its note.
        """
        deadline = time.monotonic() + timeout_s
        try:
            slot = self._free.get(timeout=max(timeout_s, 0))
        except queue.Empty as busy:
            raise ImagingTimeout("No imaging process became free in time.") from busy
        try:
            with source.open("rb") as file:
                return slot.process(file.fileno(), operations, output, deadline=deadline)
        finally:
            self._free.put(slot)

    def stop(self) -> None:
        """End all children at once; an image under way fails with ``ImagingCrashed``."""
        for slot in self._slots:
            slot.stop()
        for _ in self._slots:
            self._free.get().close()  # once its caller has noticed

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
    """The place of one child. One thread at a time uses it; only ``stop`` may come from another."""

    def __init__(self, *, limits: ImagingLimits, work: str, images_per_child: int) -> None:
        self._limits = limits
        self._work = work
        self._images_per_child = images_per_child
        self._images = 0
        self._child: ImagingChild | None = None
        self._stopped = False
        self._replacing_or_stopping = threading.Lock()

    def start(self) -> None:
        self._replace_child()

    def wait_until_ready(self, *, deadline: float) -> None:
        self._existing_child().wait_until_ready(deadline=deadline)

    def process(
        self,
        source: int,
        operations: Sequence[Mapping[str, Any]],
        output: Mapping[str, Any] | None,
        *,
        deadline: float,
    ) -> ResultImage:
        spoiled = False
        try:
            return self._process(source, operations, output, deadline)
        except (ImageTooComplex, ImagingCrashed, ImagingTimeout):
            spoiled = True
            raise
        finally:
            self._images += 1  # whatever the child said of it: its word may be a lie
            if spoiled or self._images >= self._images_per_child:
                self._replace_child()  # which loads while nobody waits for it

    def stop(self) -> None:
        with self._replacing_or_stopping:
            self._stopped = True
            if self._child is not None:
                self._child.kill()

    def close(self) -> None:
        """After ``stop``, by whoever has taken the slot."""
        if self._child is not None:
            self._child.close()

    def _process(
        self,
        source: int,
        operations: Sequence[Mapping[str, Any]],
        output: Mapping[str, Any] | None,
        deadline: float,
    ) -> ResultImage:
        """With another child when the first turns out to have ended while it was idle."""
        try:
            return self._existing_child().process(source, operations, output, deadline=deadline)
        except ChildGone:
            self._replace_child()
        try:
            return self._existing_child().process(source, operations, output, deadline=deadline)
        except ChildGone as again:
            raise ImagingCrashed("The imaging processes end before they begin.") from again

    def _existing_child(self) -> ImagingChild:
        if self._child is None:
            self._replace_child()
        if self._child is None:
            raise ImagingCrashed("No imaging process could be started.")
        return self._child

    def _replace_child(self) -> None:
        """Leaves none when none can be started; the next image then tries again."""
        with self._replacing_or_stopping:
            if self._child is not None:
                self._child.close()
            self._child = None
            self._images = 0
            if self._stopped:
                return
            try:
                self._child = ImagingChild(limits=self._limits, work=self._work)
            except OSError:
                log.exception("no imaging child could be started")
