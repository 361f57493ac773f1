"""The sandbox against attacks by an image that took over its decoder."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.common.errors import ImageTooComplex, ImagingCrashed, ImagingTimeout
from services.worker.imaging import ImagingLimits, ImagingPool, sandbox
from services.worker.interrupt import Interrupt

pytestmark = pytest.mark.skipif(not sandbox.IS_LINUX, reason="only Linux has the sandbox")

ATTACKS = "tests.worker.imaging.attacks:load_handler"


@pytest.fixture(scope="module")
def hostile() -> Iterator[ImagingPool]:
    """A pool whose only child makes any attack that a test asks for."""
    limits = ImagingLimits(memory_bytes=256 * 1024**2, timeout_s=0.2, max_result_bytes=10_000)
    with ImagingPool(limits=limits, processes=1, loader=ATTACKS) as pool:
        yield pool


def outcome(pool: ImagingPool, attack: str, tmp_path: Path, *, timeout_s: float = 60) -> str:
    """The attack's outcome: the name of an errno if the kernel denied it."""
    (tmp_path / "image").write_bytes(b"pixels")
    operation = {"name": attack, "parent": os.getpid(), "path": str(tmp_path / "image")}
    result = pool.process(
        tmp_path / "image", {"operations": [operation]}, timeout_s=timeout_s, interrupt=Interrupt()
    )
    return result.body.decode()


def test_the_environment_is_empty(hostile: ImagingPool, tmp_path: Path) -> None:
    at_start, of_python = eval(outcome(hostile, "environment", tmp_path))  # noqa: S307 - our own repr
    assert at_start == b""
    assert of_python.keys() <= {"LC_CTYPE"}  # set by Python itself (PEP 538)
    assert "PATH" in os.environ, "the parent's environment is empty too, so this proves nothing"


@pytest.mark.parametrize(
    "attack",
    [
        "own environ",
        "parent's environ",
        "parent's memory",
        "parent's memory by system call",
        "ptrace the parent",
        "take the parent's files",
        "read a file",
        "read another image",
        "list a folder",
        "write a file",
        "remove a file",
        "rename a file",
        "create a folder",
        "create a link",
        "create a file in memory",
        "open a socket",
        "open a local socket",
        "open a raw socket",
        "open a socket pair",
        "fork",
        "start a program",
        "kill the parent",
        "kill every process",
        "create a user namespace",
        "mount",
        "io_uring",
        "map executable memory",
        "raise its memory limit",
        "set the parent's limits",
    ],
)
def test_the_kernel_denies_the_attack(hostile: ImagingPool, tmp_path: Path, attack: str) -> None:
    assert outcome(hostile, attack, tmp_path) == "EPERM"
    assert [path.name for path in tmp_path.iterdir()] == ["image"]


def test_no_thread_can_be_started(hostile: ImagingPool, tmp_path: Path) -> None:
    assert "can't start new thread" in outcome(hostile, "start a thread", tmp_path)


def test_an_image_over_the_memory_limit_is_too_complex(
    hostile: ImagingPool, tmp_path: Path
) -> None:
    with pytest.raises(ImageTooComplex, match="more memory"):
        outcome(hostile, "exhaust memory", tmp_path)


def test_an_image_over_the_cpu_time_limit_is_too_complex(
    hostile: ImagingPool, tmp_path: Path
) -> None:
    with pytest.raises(ImageTooComplex, match=r"0\.2 s of CPU time"):
        outcome(hostile, "spin", tmp_path)


def test_a_child_that_disables_its_timer_is_killed_at_the_deadline(
    hostile: ImagingPool, tmp_path: Path
) -> None:
    with pytest.raises(ImagingTimeout):
        outcome(hostile, "spin without a timer", tmp_path, timeout_s=5)
    assert "EPERM" in outcome(hostile, "open a socket", tmp_path), "no new child took over"


def test_a_decoder_crash_is_reported_with_its_stack(hostile: ImagingPool, tmp_path: Path) -> None:
    with pytest.raises(ImagingCrashed, match="Segmentation fault") as crash:
        outcome(hostile, "segfault", tmp_path)
    assert any("attacks.py" in note and "segfault" in note for note in crash.value.__notes__)


def test_an_unexpected_error_is_reported_with_its_traceback(
    hostile: ImagingPool, tmp_path: Path
) -> None:
    with pytest.raises(ImagingCrashed) as crash:
        outcome(hostile, "raise an unexpected error", tmp_path)
    [note] = crash.value.__notes__
    assert "KeyError: 'a bug'" in note
    assert "in raise_unexpected_error" in note


def test_a_malformed_reply_is_never_unpickled(hostile: ImagingPool, tmp_path: Path) -> None:
    with pytest.raises(ImagingCrashed, match="malformed"):
        outcome(hostile, "send pickles", tmp_path)


def test_a_forged_error_reply_is_cleaned_and_shortened(
    hostile: ImagingPool, tmp_path: Path
) -> None:
    with pytest.raises(ImagingCrashed, match=r"All is well\.") as crash:
        outcome(hostile, "forge an error reply", tmp_path)
    assert str(crash.value).isprintable()
    assert len(str(crash.value)) == 500
    [note] = crash.value.__notes__
    assert len(note) < 21_000


def test_a_child_that_cannot_be_confined_is_never_used() -> None:
    pool = ImagingPool(
        limits=ImagingLimits(), processes=1, loader=f"{ATTACKS}_and_prevent_confinement"
    )
    with pytest.raises(ImagingCrashed) as crash:
        pool.start()
    [note] = crash.value.__notes__
    assert "in confine" in note


HIDDEN_PARENT = """
import os, sys
from services.worker.imaging import sandbox

sandbox.make_non_dumpable()
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
    """The parent stays protected if the seccomp filter ever fails."""
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", HIDDEN_PARENT], cwd=root, check=True)
