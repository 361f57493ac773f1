"""The imaging pool: children that crash, hang or exit are replaced, and callers are isolated."""

import ctypes
import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil
import pytest
from PIL import Image

from services.common.errors import (
    ImageDamaged,
    ImageTooComplex,
    ImageTooLarge,
    ImagingBusy,
    ImagingCrashed,
    ImagingTimeout,
    NotAnImage,
)
from services.worker.imaging import ImagingLimits, ImagingPool, ResultImage, sandbox
from services.worker.interrupt import Interrupt
from testbed.waiting import DEFAULT_TIMEOUT_S, wait_until
from tests.worker.imaging.sample_images import PHOTOGRAPHS, SAMPLES, bombs, file_of, opened

GRAYSCALE = [{"name": "grayscale"}]
PHOTOGRAPH = SAMPLES / "rocket.jpg"


def children(of: int | None = None) -> set[int]:
    """The process ids of the imaging children of the process ``of``, by default of this one."""
    return {
        child.pid
        for child in psutil.Process(of).children()
        if child.status() != psutil.STATUS_ZOMBIE
        and "imaging.child_main" in " ".join(child.cmdline())
    }


@pytest.fixture(scope="module")
def pool() -> Iterator[ImagingPool]:
    with ImagingPool(limits=ImagingLimits(), processes=2) as pool:
        yield pool


@dataclass(frozen=True)
class PrivatePool:
    """A pool that only one test uses, so that the test may kill its children."""

    pool: ImagingPool
    others: set[int]

    def children(self) -> set[int]:
        return children() - self.others


@contextmanager
def private_pool(
    *, processes: int, limits: ImagingLimits | None = None, images_per_child: int = 1000
) -> Iterator[PrivatePool]:
    others = children()
    with ImagingPool(
        limits=limits or ImagingLimits(),
        processes=processes,
        images_per_child=images_per_child,
    ) as pool:
        yield PrivatePool(pool, others)


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=8) as callers:
        yield callers


def grayscale(
    pool: ImagingPool,
    source: Path,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    interrupt: Interrupt | None = None,
) -> ResultImage:
    recipe = {"operations": GRAYSCALE}
    return pool.process(source, recipe, timeout_s=timeout_s, interrupt=interrupt or Interrupt())


class SlowSource:
    """An image whose second half a child can read only after ``finish``."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "slow"
        os.mkfifo(self.path)
        self._content = PHOTOGRAPH.read_bytes()
        self._pipe: IO[bytes] | None = None

    def submit_to(
        self,
        pool: ImagingPool,
        callers: ThreadPoolExecutor,
        *,
        interrupt: Interrupt | None = None,
    ) -> Future[ResultImage]:
        """Return after a child has read the first half."""
        future = callers.submit(grayscale, pool, self.path, interrupt=interrupt)
        self._pipe = self.path.open("wb", buffering=0)
        self._pipe.write(self._content[:20_000])
        wait_until(self._is_read, "a child has read the first half of the image")
        return future

    def finish(self) -> None:
        assert self._pipe is not None
        self._pipe.write(self._content[20_000:])
        self._pipe.close()

    def drop(self) -> None:
        assert self._pipe is not None
        self._pipe.close()

    def _is_read(self) -> bool:
        assert self._pipe is not None
        unread = fcntl.ioctl(self._pipe, termios.FIONREAD, bytes(4))
        return struct.unpack("i", unread) == (0,)


def test_a_child_is_replaced_after_an_error_in_this_process() -> None:
    """It might still reply to the first image while the next one waits."""
    with private_pool(processes=1) as private:
        first = private.children()
        with pytest.raises(TypeError):
            private.pool.process(
                PHOTOGRAPH,
                {"operations": object()},
                timeout_s=DEFAULT_TIMEOUT_S,
                interrupt=Interrupt(),
            )
        assert grayscale(private.pool, PHOTOGRAPH).width == 640
        assert private.children().isdisjoint(first)


def test_an_interrupt_ends_the_image_and_the_next_one_is_processed(
    slow_source: "SlowSource", callers: ThreadPoolExecutor
) -> None:
    interrupt = Interrupt()
    with private_pool(processes=1) as private:
        running = slow_source.submit_to(private.pool, callers, interrupt=interrupt)
        interrupt.set()
        with pytest.raises(ImagingCrashed):
            running.result(timeout=DEFAULT_TIMEOUT_S)
        slow_source.drop()
        assert grayscale(private.pool, PHOTOGRAPH).width == 640


@pytest.fixture
def slow_source(tmp_path: Path) -> SlowSource:
    return SlowSource(tmp_path)


def test_a_photograph_becomes_gray(pool: ImagingPool) -> None:
    result = grayscale(pool, PHOTOGRAPH)
    assert (result.content_type, result.width, result.height) == ("image/jpeg", 640, 427)
    assert opened(result.body).mode == "L"


def test_operations_and_output_reach_the_child(pool: ImagingPool) -> None:
    resize = {"name": "resize", "width": 64}
    recipe = {"operations": [resize], "output": {"format": "png"}}
    result = pool.process(PHOTOGRAPH, recipe, timeout_s=DEFAULT_TIMEOUT_S, interrupt=Interrupt())
    assert (result.content_type, result.width, result.height) == ("image/png", 64, 43)


def test_callers_share_a_smaller_number_of_children(
    pool: ImagingPool, callers: ThreadPoolExecutor
) -> None:
    futures = [callers.submit(grayscale, pool, path) for path in PHOTOGRAPHS * 8]
    results = [future.result() for future in futures]
    for start, path in enumerate(PHOTOGRAPHS):
        same = results[start :: len(PHOTOGRAPHS)]
        assert len(set(same)) == 1
        assert (same[0].width, same[0].height) == opened(path.read_bytes()).size


def test_an_invalid_image_raises_its_error_and_the_child_survives(
    pool: ImagingPool, tmp_path: Path
) -> None:
    before = children()
    (tmp_path / "cut.jpg").write_bytes(PHOTOGRAPH.read_bytes()[:-5000])
    for source, error in (
        (SAMPLES / "README.md", NotAnImage),
        (tmp_path / "cut.jpg", ImageDamaged),
    ):
        with pytest.raises(error) as raised:
            grayscale(pool, source)
        assert any("Traceback" in note for note in raised.value.__notes__)
    for name, bomb in bombs():
        (tmp_path / name).write_bytes(bomb)
        with pytest.raises(ImageTooLarge):
            grayscale(pool, tmp_path / name)
    assert children() == before


def test_a_child_killed_in_mid_task_fails_only_its_own_image(
    callers: ThreadPoolExecutor, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    victim, neighbor = SlowSource(tmp_path / "a"), SlowSource(tmp_path / "b")
    with private_pool(processes=2) as private:
        idle = {pid: psutil.Process(pid).num_fds() for pid in private.children()}
        killed = victim.submit_to(private.pool, callers)
        # Only the busy child has an image open.
        [busy] = [pid for pid, count in idle.items() if psutil.Process(pid).num_fds() > count]
        unaffected = neighbor.submit_to(private.pool, callers)
        os.kill(busy, signal.SIGKILL)
        with pytest.raises(ImagingCrashed, match="Killed"):
            killed.result()
        victim.drop()
        assert grayscale(private.pool, PHOTOGRAPH).width == 640
        neighbor.finish()
        assert unaffected.result().width == 640
        assert idle.keys() - private.children() == {busy}
        assert len(private.children()) == 2


def test_a_child_killed_while_idle_is_replaced() -> None:
    with private_pool(processes=1) as private:
        [idle] = private.children()
        os.kill(idle, signal.SIGKILL)
        assert grayscale(private.pool, PHOTOGRAPH).width == 640
        assert idle not in private.children()


def test_an_image_that_hangs_times_out_and_its_child_is_replaced(
    slow_source: SlowSource, callers: ThreadPoolExecutor
) -> None:
    with private_pool(processes=1) as private:
        [hanging] = private.children()
        future = callers.submit(grayscale, private.pool, slow_source.path, 0.5)
        with slow_source.path.open("wb"), pytest.raises(ImagingTimeout, match="in time"):
            future.result()
        assert hanging not in private.children()
        assert grayscale(private.pool, PHOTOGRAPH).width == 640


def test_waiting_for_a_free_child_times_out(
    callers: ThreadPoolExecutor, slow_source: SlowSource
) -> None:
    with private_pool(processes=1) as private:
        busy = slow_source.submit_to(private.pool, callers)
        with pytest.raises(ImagingBusy, match="free"):
            grayscale(private.pool, PHOTOGRAPH, timeout_s=0.1)
        with pytest.raises(ImagingBusy, match="free"):
            grayscale(
                private.pool, PHOTOGRAPH, timeout_s=-1
            )  # the attempt's time budget is used up
        slow_source.finish()
        assert busy.result().width == 640


def test_a_pool_reports_how_long_images_wait(
    callers: ThreadPoolExecutor, slow_source: SlowSource
) -> None:
    with private_pool(processes=1) as private:
        grayscale(private.pool, PHOTOGRAPH)
        short = private.pool.recent_wait_s()
        busy = slow_source.submit_to(private.pool, callers)
        with pytest.raises(ImagingBusy):
            grayscale(private.pool, PHOTOGRAPH, timeout_s=0.5)
        assert private.pool.recent_wait_s() > short
        slow_source.finish()
        busy.result()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_pool_reports_the_cpu_time_of_its_children() -> None:
    with private_pool(processes=1) as private:
        before = private.pool.cpu_s()

        def has_computed() -> bool:
            grayscale(private.pool, PHOTOGRAPH)
            return private.pool.cpu_s() > before

        wait_until(has_computed, "the children's CPU time grows")


def test_an_image_over_the_memory_limit_fails_and_its_child_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(file_of(Image.new("RGB", (7000, 7000)), "png"))
    with private_pool(processes=1, limits=ImagingLimits(memory_bytes=200 * 1024**2)) as private:
        [full] = private.children()
        with pytest.raises(ImageTooComplex, match="memory"):
            grayscale(private.pool, tmp_path / "large")
        assert full not in private.children()
        assert grayscale(private.pool, PHOTOGRAPH).width == 640


def test_the_default_limits_allow_50_megapixels(pool: ImagingPool, tmp_path: Path) -> None:
    large = Image.linear_gradient("L").resize((8660, 5773)).convert("RGB")
    (tmp_path / "large").write_bytes(file_of(large, "jpeg"))
    result = grayscale(pool, tmp_path / "large")
    assert (result.width, result.height) == (8660, 5773)


def test_a_child_is_replaced_after_the_configured_number_of_images() -> None:
    with private_pool(processes=1, images_per_child=2) as private:
        [first] = private.children()
        grayscale(private.pool, PHOTOGRAPH)
        assert private.children() == {first}
        grayscale(private.pool, PHOTOGRAPH)
        assert first not in private.children()
        assert grayscale(private.pool, PHOTOGRAPH).width == 640


def test_images_that_fail_count_toward_replacing_the_child(tmp_path: Path) -> None:
    """An attacker who took over the child could report every image as damaged."""
    (tmp_path / "damaged").write_bytes(PHOTOGRAPH.read_bytes()[:1000])
    with private_pool(processes=1, images_per_child=2) as private:
        [first] = private.children()
        for _ in range(2):
            with pytest.raises(ImageDamaged):
                grayscale(private.pool, tmp_path / "damaged")
        assert first not in private.children()
        assert grayscale(private.pool, PHOTOGRAPH).width == 640


def test_stopping_the_pool_kills_every_child_and_fails_the_image_in_progress(
    callers: ThreadPoolExecutor, slow_source: SlowSource
) -> None:
    before = children()
    pool = ImagingPool(limits=ImagingLimits(), processes=2)
    pool.start()
    in_progress = slow_source.submit_to(pool, callers)
    pool.stop()
    with pytest.raises(ImagingCrashed):
        in_progress.result()
    slow_source.drop()
    assert children() == before


def test_a_missing_handler_fails_the_start_and_leaves_no_child() -> None:
    before = children()
    pool = ImagingPool(limits=ImagingLimits(), processes=2, loader="services.worker.nothing:here")
    with pytest.raises(ImagingCrashed) as crash:
        pool.start()
    assert any("No module named" in note for note in crash.value.__notes__)
    assert children() == before


def test_an_idle_pool_has_no_threads(pool: ImagingPool) -> None:
    grayscale(pool, PHOTOGRAPH)
    names = [thread.name for thread in threading.enumerate()]
    with ImagingPool(limits=ImagingLimits(), processes=1):
        assert [thread.name for thread in threading.enumerate()] == names


@pytest.mark.skipif(not sandbox.IS_LINUX, reason="only Linux has prctl")
def test_the_parent_of_a_started_pool_cannot_be_inspected(pool: ImagingPool) -> None:
    get_dumpable = 3  # PR_GET_DUMPABLE
    assert ctypes.CDLL(None).prctl(get_dumpable, 0, 0, 0, 0) == 0


PARENT = """
import sys
from services.worker.imaging import ImagingLimits, ImagingPool

ImagingPool(limits=ImagingLimits(), processes=1).start()
print("started", flush=True)
sys.stdin.read()
"""


def test_a_child_does_not_outlive_its_parent() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT],
        cwd=Path(__file__).parents[3],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"started\n"
        [orphan] = children(parent.pid)
        parent.kill()
    wait_until(lambda: not psutil.pid_exists(orphan), "the child has exited")
