"""The exit codes and the output of the worker image's commands."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from local.embedded_aws import EmbeddedAws, isolated
from services.common.clock import utc_now
from services.common.task_queue import TaskQueue
from services.common.task_table import TaskTable
from services.worker.__main__ import main
from tests.conftest import Cloud
from tests.tasks import POLICY, new_task


def reconcile(aws: EmbeddedAws, cloud: Cloud, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, because its log settings are global."""
    return subprocess.run(
        [sys.executable, "-m", "services.worker", "reconcile"],
        env={
            **isolated(os.environ, endpoint_url=aws.endpoint_url),
            **cloud.resources.environment(),
            **changes,
        },
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )


def test_reconcile_sends_an_unsent_task_and_exits_with_0(
    embedded_aws: EmbeddedAws, embedded_cloud: Cloud
) -> None:
    resources = embedded_cloud.resources
    table = TaskTable(
        embedded_cloud.dynamodb, table=resources.task_table, retention=POLICY.retention
    )
    now = utc_now()
    due = now - timedelta(milliseconds=1)
    task = table.create(
        new_task(
            created_at=now,
            updated_at=now,
            deadline_at=now + POLICY.deadline,
            check_at=due,
            unsent=True,
        )
    )
    assert reconcile(embedded_aws, embedded_cloud).returncode == 0
    queue = TaskQueue(embedded_cloud.sqs, url=resources.task_queue_url)
    [message] = queue.receive(limit=10, wait_s=0)
    assert message.task_id == task.task_id


def test_reconcile_exits_with_1_after_an_aws_error(
    embedded_aws: EmbeddedAws, embedded_cloud: Cloud
) -> None:
    finished = reconcile(embedded_aws, embedded_cloud, TASK_TABLE="no-such-table")
    assert finished.returncode == 1
    assert "reconciliation failed" in finished.stdout


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch, cloud: Cloud) -> pytest.MonkeyPatch:
    """The environment of a container."""
    for name, value in {**cloud.resources.environment(), "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.mark.parametrize("command", ["run", "reconcile"])
def test_an_invalid_environment_is_reported_and_exits_with_2(
    container: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    container.delenv("TASK_TABLE")
    container.setenv("LEASE_S", "a minute")
    assert main([command]) == 2
    stderr = capsys.readouterr().err
    assert "TASK_TABLE: Field required" in stderr
    assert "LEASE_S: Input should be a valid integer" in stderr


def test_an_unknown_command_prints_the_known_ones_and_exits_with_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as exit_error:
        main(["walk"])
    assert exit_error.value.code == 2
    stderr = capsys.readouterr().err
    assert all(command in stderr for command in ("run", "reconcile"))
