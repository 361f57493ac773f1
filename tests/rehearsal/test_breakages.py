"""Broken on purpose: every rehearsal of a broken deployment fails, and says what is broken.

Services run as processes, which is faster; ``make test-rehearsal``.
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
WITHIN_S = 300


@dataclass(frozen=True)
class Rehearsal:
    exit_code: int
    output: str

    @property
    def figures(self) -> dict[str, Any]:
        """The last line."""
        figures: dict[str, Any] = json.loads(self.output.splitlines()[-1])
        return figures

    @property
    def wrong(self) -> str:
        """What it found not to be as it must be."""
        return self.output.partition("Not as it must be:")[2]


def rehearse(*arguments: str) -> Rehearsal:
    done = subprocess.run(
        [sys.executable, "-m", "rehearsal", "--engine", "processes", *arguments],
        cwd=ROOT,
        env=os.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    return Rehearsal(done.returncode, done.stdout)


@contextmanager
def running() -> Iterator[subprocess.Popen[str]]:
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


def broken(breakage: str) -> Rehearsal:
    rehearsal = rehearse("--app", f"{sys.executable} -m tests.rehearsal.broken_app {breakage}")
    assert rehearsal.exit_code == 1, rehearsal.output
    assert rehearsal.figures.keys() == MEMBERS
    return rehearsal


def test_a_wrong_name_in_the_environment_is_named() -> None:
    rehearsal = broken("wrong-environment-name")

    assert "worker" in rehearsal.wrong
    assert "TASK_QUEUE_URL: Field required" in rehearsal.wrong


def test_a_missing_permission_is_named() -> None:
    rehearsal = broken("missing-permission")

    assert "The worker may not s3:PutObject on arn:aws:s3:::" in rehearsal.wrong


def test_a_wrong_health_path_is_named() -> None:
    rehearsal = broken("wrong-health-path")

    assert "GET /health on port 8080 answers 404, expected is 200" in rehearsal.wrong


def test_a_visibility_timeout_that_is_not_the_lease_or_below_two_heartbeats_is_named() -> None:
    rehearsal = broken("short-visibility")

    unlike_the_lease, too_short = re.findall(
        "The queue hides a message for 30 s, .*?:", rehearsal.wrong
    )
    assert "the lease on its task is 60 s (LEASE_S)" in unlike_the_lease
    assert "prolongs that every 20 s only (HEARTBEAT_INTERVAL_S)" in too_short


def test_the_settings_refuse_such_a_visibility_timeout_first() -> None:
    rehearsal = rehearse("--setting", "visibility_timeout_s=30")

    assert rehearsal.exit_code == 1
    assert "visibility_timeout_s (30) must be at least twice" in rehearsal.output


def test_a_permission_too_many_is_named_and_everything_else_is_well() -> None:
    rehearsal = broken("unused-permission")

    unused, unfenced = re.findall("✗ (.*)", rehearsal.wrong)
    assert unused.startswith("The api may s3:DeleteObject on arn:aws:s3:::")
    assert unused.endswith("and never did.")
    assert unfenced == "The api can delete results."
    figures = rehearsal.figures
    assert figures["unusedPermissions"] == 1
    assert figures["stacks"] == 5
    assert figures["tasksFailedAsExpected"] == 3
    assert figures["tasksCompleted"] > 60
    assert figures["requestsDuringRollout"] > 0
    assert figures["failedDuringRollout"] == 0
    assert figures["leftAfterDestroy"] == 0


def test_ctrl_c_leaves_nothing_running() -> None:
    with running() as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "The services start as deployed" in line:
                break
        children = psutil.Process(process.pid).children(recursive=True)
        started = [child.pid for child in children]
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=WITHIN_S)

    assert process.returncode == 1
    assert json.loads(output.splitlines()[-1]).keys() == MEMBERS
    assert "stopped before its end" in output
    assert started
    assert wait_for_exit(started)
