"""Each fence tried from inside an imaging child, as an image that took over its decoder would."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.common.errors import ImageTooComplex, ImagingCrashed, ImagingTimeout
from services.worker.imaging import ImagingLimits, ImagingPool, sandbox

pytestmark = pytest.mark.skipif(not sandbox.IS_LINUX, reason="only Linux has the sandbox")

ATTACKS = "tests.worker.imaging.attacks:prepare"


@pytest.fixture(scope="module")
def hostile() -> Iterator[ImagingPool]:
    """A pool whose one child does what it is told, however bad."""
    limits = ImagingLimits(memory_bytes=256 * 1024**2, timeout_s=0.2, max_result_bytes=10_000)
    with ImagingPool(limits=limits, processes=1, work=ATTACKS) as pool:
        yield pool


def outcome(pool: ImagingPool, attack: str, tmp_path: Path, *, timeout_s: float = 60) -> str:
    """What came of it: the name of an errno when it was stopped."""
    (tmp_path / "image").write_bytes(b"pixels")
    operation = {"name": attack, "parent": os.getpid(), "path": str(tmp_path / "image")}
    result = pool.process(tmp_path / "image", [operation], None, timeout_s=timeout_s)
    return result.body.decode()


def test_the_environment_is_empty(hostile: ImagingPool, tmp_path: Path) -> None:
    at_start, of_python = eval(outcome(hostile, "environment", tmp_path))  # noqa: S307 - our own repr
    assert at_start == b""
    assert of_python.keys() <= {"LC_CTYPE"}  # Python sets that itself, by PEP 538
    assert "PATH" in os.environ  # so the parent does have one


@pytest.mark.parametrize(
    "attack",
    [
        "own environ",
        "parent's environ",
        "parent's memory",
        "parent's memory by call",
        "ptrace the parent",
        "take the parent's files",
        "read a file",
        "read another image",
        "list a folder",
        "write a file",
        "remove a file",
        "rename a file",
        "make a folder",
        "make a link",
        "make a file in memory",
        "open a socket",
        "open a local socket",
        "open a raw socket",
        "open a pair of sockets",
        "fork",
        "start a program",
        "kill the parent",
        "kill everybody",
        "a namespace of its own",
        "mount",
        "io_uring",
        "executable memory",
        "more memory",
        "its parent's limits",
    ],
)
def test_the_kernel_refuses(hostile: ImagingPool, tmp_path: Path, attack: str) -> None:
    assert outcome(hostile, attack, tmp_path) == "EPERM"
    assert [path.name for path in tmp_path.iterdir()] == ["image"]


def test_no_thread_can_be_started(hostile: ImagingPool, tmp_path: Path) -> None:
    assert "can't start new thread" in outcome(hostile, "start a thread", tmp_path)


def test_memory_is_limited_and_the_image_is_to_blame(hostile: ImagingPool, tmp_path: Path) -> None:
    with pytest.raises(ImageTooComplex, match="more memory"):
        outcome(hostile, "eat memory", tmp_path)


def test_cpu_time_is_limited_and_the_image_is_to_blame(
    hostile: ImagingPool, tmp_path: Path
) -> None:
    with pytest.raises(ImageTooComplex, match=r"0\.2 s of CPU time"):
        outcome(hostile, "spin", tmp_path)


def test_who_switches_off_the_timer_is_ended_by_the_clock(
    hostile: ImagingPool, tmp_path: Path
) -> None:
    with pytest.raises(ImagingTimeout):
        outcome(hostile, "spin without a timer", tmp_path, timeout_s=5)
    assert "EPERM" in outcome(hostile, "open a socket", tmp_path)  # with another child


def test_a_crash_is_ours_and_says_where(hostile: ImagingPool, tmp_path: Path) -> None:
    with pytest.raises(ImagingCrashed, match="Segmentation fault") as crash:
        outcome(hostile, "segfault", tmp_path)
    assert any("attacks.py" in note and "segfault" in note for note in crash.value.__notes__)


def test_an_unexpected_error_is_ours_and_keeps_its_traceback(
    hostile: ImagingPool, tmp_path: Path
) -> None:
    with pytest.raises(ImagingCrashed) as crash:
        outcome(hostile, "stumble", tmp_path)
    [note] = crash.value.__notes__
    assert "KeyError: 'a bug of ours'" in note
    assert "in stumble" in note


def test_what_a_child_forges_is_never_unpickled(hostile: ImagingPool, tmp_path: Path) -> None:
    with pytest.raises(ImagingCrashed, match="nonsense"):
        outcome(hostile, "garble", tmp_path)


def test_what_a_child_says_went_wrong_is_fit_for_a_row_a_log_and_a_terminal(
    hostile: ImagingPool, tmp_path: Path
) -> None:
    with pytest.raises(ImagingCrashed, match=r"All is well\.") as crash:
        outcome(hostile, "forge a failure", tmp_path)
    assert str(crash.value).isprintable()
    assert len(str(crash.value)) == 500
    [note] = crash.value.__notes__
    assert len(note) < 21_000


def test_a_child_that_cannot_be_fenced_in_is_never_used() -> None:
    pool = ImagingPool(
        limits=ImagingLimits(), processes=1, work=f"{ATTACKS}_what_cannot_be_confined"
    )
    with pytest.raises(ImagingCrashed) as crash:
        pool.start()
    [note] = crash.value.__notes__
    assert "in confine" in note


HIDDEN_PARENT = """
import os, sys
from services.worker.imaging import sandbox

sandbox.hide_from_children()
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
sandbox.drop_capabilities()
for name in ("environ", "mem", "maps"):
    try:
        open(f"/proc/{os.getppid()}/{name}", "rb").read(1)
    except PermissionError:
        continue
    os._exit(1)
os._exit(0)
"""


def test_the_parent_is_hidden_even_from_a_child_without_the_filter() -> None:
    """So that one fence is still there should the other ever fall."""
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", HIDDEN_PARENT], cwd=root, check=True)
