"""Whatever a measured program has others do for it is counted, and counted once."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.overhead.process_cpu import tree_cpu_s

BURNT_S = 0.5
BURN = f"""
import time
while time.process_time() < {BURNT_S}: pass
"""
BURN_AND_STAY = f"""{BURN}
print("burnt", flush=True)
input()
"""
IN_A_CHILD = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {BURN!r}])
print("burnt", flush=True)
input()
"""
IN_A_CHILD_THAT_STAYS = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {BURN_AND_STAY!r}])
"""
IN_A_GRANDCHILD = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {IN_A_CHILD!r}])
"""
IN_A_GRANDCHILD_THAT_STAYS = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {IN_A_CHILD_THAT_STAYS!r}])
"""


@contextmanager
def burnt(program: str) -> Iterator[int]:
    """The program's process, when it says that the CPU time is used up."""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"burnt\n"
        yield process.pid
        process.communicate(b"\n")


@pytest.mark.parametrize(
    "program",
    [
        BURN_AND_STAY,
        IN_A_CHILD,
        IN_A_CHILD_THAT_STAYS,
        IN_A_GRANDCHILD,
        IN_A_GRANDCHILD_THAT_STAYS,
    ],
    ids=["itself", "ended child", "living child", "ended grandchild", "living grandchild"],
)
def test_all_of_a_process_tree_is_counted_once(program: str) -> None:
    with burnt(program) as pid:
        counted_s = tree_cpu_s(pid)

    # Room for the steps of 10 ms, and for the start of the interpreters; none for a second count.
    assert BURNT_S - 0.02 <= counted_s < 2 * BURNT_S
