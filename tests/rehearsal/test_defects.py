"""A rehearsal of a defective deployment fails and names the defect.

Run these tests with ``make test-rehearsal``. Services run as processes, which is faster.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.local.process_exit import wait_for_exit

pytestmark = pytest.mark.rehearsal

ROOT = Path(__file__).parents[2]
MEMBERS = {
    *("stacks", "resources", "tasksCompleted", "tasksFailedAsExpected", "denied"),
    *("unusedPermissions", "requestsDuringRollout", "failedDuringRollout", "leftAfterDestroy"),
    "seconds",
}
TIMEOUT_S = 300


@dataclass(frozen=True)
class FinishedRehearsal:
    exit_code: int
    output: str

    @property
    def figures(self) -> dict[str, Any]:
        """The last line of output."""
        figures: dict[str, Any] = json.loads(self.output.splitlines()[-1])
        return figures

    @property
    def problems(self) -> str:
        return self.output.partition("Problems:")[2]


def rehearse(*arguments: str) -> FinishedRehearsal:
    finished = subprocess.run(
        [sys.executable, "-m", "rehearsal", "--engine", "processes", *arguments],
        cwd=ROOT,
        env=os.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return FinishedRehearsal(finished.returncode, finished.stdout)


@contextmanager
def running_rehearsal() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "rehearsal", "--engine", "processes"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def rehearse_with(defect: str) -> FinishedRehearsal:
    rehearsal = rehearse("--app", f"{sys.executable} -m tests.rehearsal.broken_app {defect}")
    assert rehearsal.exit_code == 1, rehearsal.output
    assert rehearsal.figures.keys() == MEMBERS
    return rehearsal


def test_a_wrong_name_in_the_environment_is_reported() -> None:
    rehearsal = rehearse_with("wrong-environment-name")

    assert "worker" in rehearsal.problems
    assert "TASK_QUEUE_URL: Field required" in rehearsal.problems


def test_a_missing_permission_is_reported() -> None:
    rehearsal = rehearse_with("missing-permission")

    assert "The worker role was denied s3:PutObject on arn:aws:s3:::" in rehearsal.problems


def test_a_wrong_health_path_is_reported() -> None:
    rehearsal = rehearse_with("wrong-health-path")

    assert "GET /health on port 8080 returned 404, not 200" in rehearsal.problems


def test_a_visibility_timeout_unlike_the_lease_and_below_two_heartbeats_is_reported() -> None:
    rehearsal = rehearse_with("short-visibility")

    unlike_lease, too_short = re.findall(
        r"The queue's visibility timeout is 30 s, .*?:", rehearsal.problems
    )
    assert "a task's lease is 60 s (LEASE_S)" in unlike_lease
    assert "extend it only every 20 s (HEARTBEAT_INTERVAL_S)" in too_short


def test_the_settings_class_rejects_such_a_visibility_timeout() -> None:
    rehearsal = rehearse("--setting", "visibility_timeout_s=30")

    assert rehearsal.exit_code == 1
    assert "visibility_timeout_s (30) must be at least twice" in rehearsal.output


def test_an_unused_permission_is_reported_and_everything_else_succeeds() -> None:
    rehearsal = rehearse_with("unused-permission")

    unused, permitted = re.findall("✗ (.*)", rehearsal.problems)
    assert unused.startswith("The api role never used s3:DeleteObject on arn:aws:s3:::")
    assert permitted == "The api role can delete results."
    figures = rehearsal.figures
    assert figures["unusedPermissions"] == 1
    assert figures["stacks"] == 5
    assert figures["tasksFailedAsExpected"] == 3
    assert figures["tasksCompleted"] > 60
    assert figures["requestsDuringRollout"] > 0
    assert figures["failedDuringRollout"] == 0
    assert figures["leftAfterDestroy"] == 0


def test_ctrl_c_leaves_nothing_running() -> None:
    with running_rehearsal() as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "The services start as deployed" in line:
                break
        children = psutil.Process(process.pid).children(recursive=True)
        started = [child.pid for child in children]
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=TIMEOUT_S)

    assert process.returncode == 1
    assert json.loads(output.splitlines()[-1]).keys() == MEMBERS
    assert "stopped before it finished" in output
    assert started
    assert wait_for_exit(started)
