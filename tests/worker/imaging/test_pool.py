"""Children that crash, hang, die and are replaced, and callers who do not notice each other."""

import ctypes
import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
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
    ImagingCrashed,
    ImagingTimeout,
    NotAnImage,
)
from services.worker.imaging import ImagingLimits, ImagingPool, ResultImage, sandbox
from tests.worker.imaging.sample_images import PHOTOGRAPHS, SAMPLES, bombs, file_of, opened

GRAYSCALE = [{"name": "grayscale"}]
PHOTOGRAPH = SAMPLES / "rocket.jpg"
PATIENCE_S = 60


def children(of: int | None = None) -> set[int]:
    """The process ids of a process's imaging children; of this one's if not said otherwise."""
    return {
        child.pid
        for child in psutil.Process(of).children()
        if child.status() != psutil.STATUS_ZOMBIE and "imaging.inside" in " ".join(child.cmdline())
    }


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


@pytest.fixture(scope="module")
def pool() -> Iterator[ImagingPool]:
    with ImagingPool(limits=ImagingLimits(), processes=2) as pool:
        yield pool


@dataclass(frozen=True)
class OwnPool:
    """A pool that a test may do harm to."""

    pool: ImagingPool
    others: set[int]

    def children(self) -> set[int]:
        return children() - self.others


@contextmanager
def own_pool(
    *, processes: int, limits: ImagingLimits | None = None, images_per_child: int = 1000
) -> Iterator[OwnPool]:
    others = children()
    with ImagingPool(
        limits=limits or ImagingLimits(),
        processes=processes,
        images_per_child=images_per_child,
    ) as pool:
        yield OwnPool(pool, others)


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=8) as callers:
        yield callers


def done(pool: ImagingPool, source: Path, timeout_s: float = PATIENCE_S) -> ResultImage:
    return pool.process(source, GRAYSCALE, None, timeout_s=timeout_s)


class SlowSource:
    """An image whose second half comes when the test says so: a child that is in mid-task."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "slow"
        os.mkfifo(self.path)
        self._content = PHOTOGRAPH.read_bytes()
        self._pipe: IO[bytes] | None = None

    def give_to(self, pool: ImagingPool, callers: ThreadPoolExecutor) -> Future[ResultImage]:
        """Returns once a child has read the first half and waits for more."""
        future = callers.submit(done, pool, self.path)
        self._pipe = self.path.open("wb", buffering=0)
        self._pipe.write(self._content[:20_000])
        until(self._is_read)
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


@pytest.fixture
def slow_source(tmp_path: Path) -> SlowSource:
    return SlowSource(tmp_path)


def test_a_photograph_comes_back_gray(pool: ImagingPool) -> None:
    result = done(pool, PHOTOGRAPH)
    assert (result.content_type, result.width, result.height) == ("image/jpeg", 640, 427)
    assert opened(result.body).mode == "L"


def test_operations_and_output_reach_the_child(pool: ImagingPool) -> None:
    resize = {"name": "resize", "width": 64}
    result = pool.process(PHOTOGRAPH, [resize], {"format": "png"}, timeout_s=PATIENCE_S)
    assert (result.content_type, result.width, result.height) == ("image/png", 64, 43)


def test_more_callers_than_children_take_turns(
    pool: ImagingPool, callers: ThreadPoolExecutor
) -> None:
    futures = [callers.submit(done, pool, path) for path in PHOTOGRAPHS * 8]
    results = [future.result() for future in futures]
    for start, path in enumerate(PHOTOGRAPHS):
        same = results[start :: len(PHOTOGRAPHS)]
        assert len(set(same)) == 1
        assert (same[0].width, same[0].height) == opened(path.read_bytes()).size


def test_errors_of_an_image_cross_over_and_cost_no_child(pool: ImagingPool, tmp_path: Path) -> None:
    before = children()
    (tmp_path / "cut.jpg").write_bytes(PHOTOGRAPH.read_bytes()[:-5000])
    for source, error in (
        (SAMPLES / "README.md", NotAnImage),
        (tmp_path / "cut.jpg", ImageDamaged),
    ):
        with pytest.raises(error) as raised:
            done(pool, source)
        assert any("Traceback" in note for note in raised.value.__notes__)
    for name, bomb in bombs():
        (tmp_path / name).write_bytes(bomb)
        with pytest.raises(ImageTooLarge):
            done(pool, tmp_path / name)
    assert children() == before


def test_a_child_killed_in_mid_task_costs_its_own_task_one_attempt_and_nobody_else_anything(
    callers: ThreadPoolExecutor, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    victim, neighbor = SlowSource(tmp_path / "a"), SlowSource(tmp_path / "b")
    with own_pool(processes=2) as own:
        idle = {pid: psutil.Process(pid).num_fds() for pid in own.children()}
        killed = victim.give_to(own.pool, callers)
        # Only the child at work has its image open.
        [unlucky] = [pid for pid, count in idle.items() if psutil.Process(pid).num_fds() > count]
        spared = neighbor.give_to(own.pool, callers)
        os.kill(unlucky, signal.SIGKILL)
        with pytest.raises(ImagingCrashed, match="Killed"):
            killed.result()
        victim.drop()
        assert done(own.pool, PHOTOGRAPH).width == 640
        neighbor.finish()
        assert spared.result().width == 640
        assert idle.keys() - own.children() == {unlucky}
        assert len(own.children()) == 2


def test_a_child_killed_while_idle_costs_nobody_anything() -> None:
    with own_pool(processes=1) as own:
        [idle] = own.children()
        os.kill(idle, signal.SIGKILL)
        assert done(own.pool, PHOTOGRAPH).width == 640
        assert idle not in own.children()


def test_an_image_that_hangs_is_given_up_at_the_deadline_and_its_child_replaced(
    slow_source: SlowSource, callers: ThreadPoolExecutor
) -> None:
    with own_pool(processes=1) as own:
        [hanging] = own.children()
        future = callers.submit(done, own.pool, slow_source.path, 0.5)
        with slow_source.path.open("wb"), pytest.raises(ImagingTimeout, match="in time"):
            future.result()
        assert hanging not in own.children()
        assert done(own.pool, PHOTOGRAPH).width == 640


def test_who_finds_no_free_child_in_time_is_told_so(
    callers: ThreadPoolExecutor, slow_source: SlowSource
) -> None:
    with own_pool(processes=1) as own:
        busy = slow_source.give_to(own.pool, callers)
        with pytest.raises(ImagingTimeout, match="free"):
            done(own.pool, PHOTOGRAPH, timeout_s=0.1)
        with pytest.raises(ImagingTimeout, match="free"):
            done(own.pool, PHOTOGRAPH, timeout_s=-1)  # what is left of a budget that is spent
        slow_source.finish()
        assert busy.result().width == 640


def test_an_image_that_needs_too_much_memory_is_to_blame_and_its_child_replaced(
    tmp_path: Path,
) -> None:
    (tmp_path / "large").write_bytes(file_of(Image.new("RGB", (7000, 7000)), "png"))
    with own_pool(processes=1, limits=ImagingLimits(memory_bytes=200 * 1024**2)) as own:
        [full] = own.children()
        with pytest.raises(ImageTooComplex, match="memory"):
            done(own.pool, tmp_path / "large")
        assert full not in own.children()
        assert done(own.pool, PHOTOGRAPH).width == 640


def test_fifty_megapixels_pass_with_the_default_limits(pool: ImagingPool, tmp_path: Path) -> None:
    large = Image.linear_gradient("L").resize((8660, 5773)).convert("RGB")
    (tmp_path / "large").write_bytes(file_of(large, "jpeg"))
    result = done(pool, tmp_path / "large")
    assert (result.width, result.height) == (8660, 5773)


def test_children_are_replaced_after_so_many_images() -> None:
    with own_pool(processes=1, images_per_child=2) as own:
        [first] = own.children()
        done(own.pool, PHOTOGRAPH)
        assert own.children() == {first}
        done(own.pool, PHOTOGRAPH)
        assert first not in own.children()
        assert done(own.pool, PHOTOGRAPH).width == 640


def test_a_child_that_refuses_every_image_is_replaced_all_the_same(tmp_path: Path) -> None:
    """Its word may be that of an attacker who has taken it over."""
    (tmp_path / "damaged").write_bytes(PHOTOGRAPH.read_bytes()[:1000])
    with own_pool(processes=1, images_per_child=2) as own:
        [first] = own.children()
        for _ in range(2):
            with pytest.raises(ImageDamaged):
                done(own.pool, tmp_path / "damaged")
        assert first not in own.children()
        assert done(own.pool, PHOTOGRAPH).width == 640


def test_stopping_ends_every_child_and_the_image_under_way(
    callers: ThreadPoolExecutor, slow_source: SlowSource
) -> None:
    before = children()
    pool = ImagingPool(limits=ImagingLimits(), processes=2)
    pool.start()
    under_way = slow_source.give_to(pool, callers)
    pool.stop()
    with pytest.raises(ImagingCrashed):
        under_way.result()
    slow_source.drop()
    assert children() == before


def test_work_that_does_not_exist_fails_the_start_and_leaves_nothing_behind() -> None:
    before = children()
    pool = ImagingPool(limits=ImagingLimits(), processes=2, work="services.worker.nothing:here")
    with pytest.raises(ImagingCrashed) as crash:
        pool.start()
    assert any("No module named" in note for note in crash.value.__notes__)
    assert children() == before


def test_an_idle_pool_has_no_threads_of_its_own(pool: ImagingPool) -> None:
    done(pool, PHOTOGRAPH)
    names = [thread.name for thread in threading.enumerate()]
    with ImagingPool(limits=ImagingLimits(), processes=1):
        assert [thread.name for thread in threading.enumerate()] == names


@pytest.mark.skipif(not sandbox.IS_LINUX, reason="only Linux has it")
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
    until(lambda: not psutil.pid_exists(orphan))
