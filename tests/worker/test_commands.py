"""The commands of the worker's image, as whoever starts them sees them: exit code and output."""

import time
from datetime import timedelta
from pathlib import Path

import pytest

from services.common.clock import utc_now
from services.common.config import ReconcilerConfig, WorkerConfig
from services.common.task_queue import TaskQueue
from services.common.task_table import TaskTable
from services.worker.__main__ import main
from services.worker.commands.health import health
from services.worker.commands.reconcile import reconcile
from services.worker.health import HealthFile, healthy_within_s
from tests.conftest import Cloud
from tests.tasks import POLICY, new_task

RECEIVE_WAIT_S = 20


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch, cloud: Cloud) -> pytest.MonkeyPatch:
    """The environment that a container starts with."""
    environment = {
        **cloud.resources.environment(),
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_reconcile_sends_what_was_never_sent(
    container: pytest.MonkeyPatch, table: TaskTable, queue: TaskQueue
) -> None:
    now = utc_now()
    due = now - timedelta(milliseconds=1)
    task = table.create(
        new_task(created_at=now, updated_at=now, deadline_at=now + POLICY.deadline, check_at=due)
    )
    assert reconcile(ReconcilerConfig()) == 0
    [message] = queue.receive(limit=10, wait_s=0)
    assert message.task_id == task.task_id


def test_a_reconcile_that_aws_cut_short_has_failed(container: pytest.MonkeyPatch) -> None:
    container.setenv("TASK_TABLE", "no-such-table")
    assert reconcile(ReconcilerConfig()) == 1


@pytest.fixture
def rounds(container: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the poll loop notes its rounds."""
    path = tmp_path / "health"
    container.setenv("HEALTH_FILE", str(path))
    container.setenv("RECEIVE_WAIT_S", str(RECEIVE_WAIT_S))
    return path


def test_a_worker_that_makes_rounds_is_healthy(rounds: Path) -> None:
    HealthFile(rounds).note_round()
    assert main(["health"]) == 0


def test_a_worker_that_never_made_one_is_not(rounds: Path) -> None:
    assert main(["health"]) == 1


def test_a_worker_whose_last_round_is_long_ago_is_not_and_the_check_says_so(
    rounds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limit_s = healthy_within_s(RECEIVE_WAIT_S)
    rounds.write_text(str(time.monotonic() - limit_s - 1))
    assert health(WorkerConfig()) == 1
    assert f"the limit is {limit_s} s" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["run", "reconcile", "health"])
def test_a_wrong_environment_is_named_and_nothing_runs(
    container: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    container.delenv("TASK_TABLE")
    container.setenv("LEASE_S", "a minute")
    assert main([command]) == 2
    said = capsys.readouterr().err
    assert "TASK_TABLE: Field required" in said
    assert "LEASE_S: Input should be a valid integer" in said


def test_a_command_that_does_not_exist_is_answered_with_those_that_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["walk"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert all(command in said for command in ("run", "reconcile", "health"))
