"""The CPU time of all processes of a tree is counted exactly once."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.process_tree import tree_cpu_s

CPU_S = 0.5
USE_CPU = f"""
import time
while time.process_time() < {CPU_S}: pass
"""
USE_CPU_AND_WAIT = f"""{USE_CPU}
print("done", flush=True)
input()
"""
IN_A_CHILD = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {USE_CPU!r}])
print("done", flush=True)
input()
"""
IN_A_LIVING_CHILD = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {USE_CPU_AND_WAIT!r}])
"""
IN_A_GRANDCHILD = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {IN_A_CHILD!r}])
"""
IN_A_LIVING_GRANDCHILD = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {IN_A_LIVING_CHILD!r}])
"""


@contextmanager
def running(program: str) -> Iterator[int]:
    """The process ID of the program after it has used its CPU time."""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        yield process.pid
        process.communicate(b"\n")


@pytest.mark.parametrize(
    "program",
    [
        USE_CPU_AND_WAIT,
        IN_A_CHILD,
        IN_A_LIVING_CHILD,
        IN_A_GRANDCHILD,
        IN_A_LIVING_GRANDCHILD,
    ],
    ids=["itself", "exited child", "living child", "exited grandchild", "living grandchild"],
)
def test_every_process_of_a_tree_is_counted_once(program: str) -> None:
    with running(program) as pid:
        counted_s = tree_cpu_s(pid)

    # Allows for steps of 10 ms and the start of the interpreters, but not for counting twice.
    assert CPU_S - 0.02 <= counted_s < 2 * CPU_S
