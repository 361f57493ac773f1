"""Started programs do not outlive the process that started them, even if it is killed."""

import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.local.process_exit import wait_for_exit

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 20

CHILD = """
import os, pathlib, sys, time
pathlib.Path(sys.argv[1] + "~").write_text(str(os.getpid()))
os.rename(sys.argv[1] + "~", sys.argv[1])
time.sleep(600)
"""
PROGRAM = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", CHILD, sys.argv[1] + "/grandchild"])
sys.argv[1] += "/child"
exec(CHILD)
"""
HEADER = f"""
import os, pathlib, signal, sys, time
from local.processes import Program
folder = sys.argv[1]
code = "CHILD = " + repr({CHILD!r}) + {PROGRAM!r}
program = Program("one", (sys.executable, "-c", code, folder), dict(os.environ))
"""
WITH_TESTBED = """
from testbed.process import Process
process = Process(program, log=pathlib.Path(folder, "log"))
time.sleep(600)
"""
WITH_RUN = """
import asyncio
from local.processes import run_once
from local.terminal import Terminal
asyncio.run(run_once(program, Terminal(sys.stdout, names=("one",))))
"""


def pids_in(folder: Path) -> list[int]:
    files = [folder / "child", folder / "grandchild"]
    deadline = monotonic() + TIMEOUT_S
    while not all(file.exists() for file in files) and monotonic() < deadline:
        sleep(0.01)
    return [int(file.read_text()) for file in files]


@pytest.mark.parametrize("start", [WITH_TESTBED, WITH_RUN], ids=["testbed", "make run"])
def test_killing_a_process_ends_the_programs_that_it_started(start: str, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HEADER + start, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    ) as parent:
        try:
            started = pids_in(tmp_path)
        finally:
            parent.kill()

    assert wait_for_exit(started)
