"""``taskctl dlq``: output, exit codes and effects."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import boto3
import pytest
from click.testing import CliRunner, Result

from services.common.task import Phase, Status, Task
from services.common.task_record import to_item
from services.common.task_table import TaskTable
from taskctl.cli import cli
from tests.conftest import Cloud
from tests.tasks import NOW, task_in

Taskctl = Callable[..., Result]
IDS = [f"6e1f7a4e-0000-4000-8000-00000000000{number}" for number in range(4)]


@pytest.fixture
def taskctl(cloud: Cloud) -> Taskctl:
    def run(*arguments: str, environment: dict[str, str] | None = None) -> Result:
        variables = {
            "AWS_REGION": "us-east-1",
            "COLUMNS": "200",
            **(cloud.resources.environment() if environment is None else environment),
        }
        return CliRunner().invoke(cli, ["dlq", *arguments], env=variables)

    return run


def add_letter(cloud: Cloud, task: Task) -> None:
    """Write the task's row and send a message for it to the dead-letter queue."""
    cloud.dynamodb.put_item(TableName=cloud.resources.task_table, Item=to_item(task))
    send(cloud, json.dumps({"taskId": task.task_id, "requestId": "r"}))


def send(cloud: Cloud, body: str) -> None:
    cloud.sqs.send_message(QueueUrl=cloud.resources.dead_letter_queue_url, MessageBody=body)


def failed(task_id: str, code: str) -> Task:
    return task_in(
        Phase.FAILED, task_id=task_id, failure_code=code, failure_reason=f"It is {code}."
    )


@pytest.fixture
def letters(cloud: Cloud) -> None:
    """Two failed tasks, a completed task, and a message that names no task."""
    add_letter(cloud, failed(IDS[0], "storage_failed"))
    add_letter(cloud, failed(IDS[1], "imaging_crashed"))
    add_letter(cloud, task_in(Phase.COMPLETED, task_id=IDS[2]))
    send(cloud, "\x1b[31mhello")


def listed(taskctl: Taskctl) -> dict[str, Any]:
    """The entries of the list by code."""
    entries = json.loads(taskctl("list", "--json").stdout)
    return {entry["code"]: entry for entry in entries}


@pytest.mark.usefixtures("letters")
def test_list_shows_the_task_and_the_failure_of_each_message(taskctl: Taskctl) -> None:
    found = listed(taskctl)
    assert set(found) == {"storage_failed", "imaging_crashed", "task_completed", "unreadable"}
    assert found["storage_failed"]["taskId"] == IDS[0]
    table = taskctl("list").stdout
    assert all(task_id in table for task_id in IDS[:3])
    assert "It is storage_failed." in table


def test_list_says_that_the_queue_is_empty(taskctl: Taskctl) -> None:
    assert taskctl("list").stdout == "The dead-letter queue is empty.\n"


@pytest.mark.usefixtures("letters")
def test_show_finds_a_message_by_task_id_and_by_message_id(taskctl: Taskctl, cloud: Cloud) -> None:
    message_id = listed(taskctl)["storage_failed"]["messages"][0]["messageId"]
    by_task, by_message = (taskctl("show", each).stdout for each in (IDS[0], message_id))
    assert by_task == by_message
    assert "storage_failed" in by_task
    assert "It is storage_failed." in by_task
    assert "Check the bucket" in by_task
    assert json.loads(taskctl("show", "--json", IDS[0]).stdout)["status"] == "FAILED"


@pytest.mark.usefixtures("letters")
def test_control_characters_of_a_message_do_not_reach_the_terminal(taskctl: Taskctl) -> None:
    message_id = listed(taskctl)["unreadable"]["messages"][0]["messageId"]
    for output in (taskctl("list").stdout, taskctl("show", message_id).stdout):
        assert "\x1b" not in output


@pytest.mark.usefixtures("letters")
def test_redrive_retries_only_tasks_with_the_code(taskctl: Taskctl, cloud: Cloud) -> None:
    result = taskctl("redrive", "--code", "storage_failed")
    assert result.stdout == "1 retried, 0 sent again, 0 only deleted.\n"
    table = TaskTable(cloud.dynamodb, table=cloud.resources.task_table, retention=NOW - NOW)
    statuses = [row.status for task_id in IDS[:3] if (row := table.get(task_id))]
    assert statuses == [Status.PENDING, Status.FAILED, Status.COMPLETED]
    assert cloud.messages() == {"queue": 1, "dead letters": 3}
    assert "storage_failed" not in listed(taskctl)


@pytest.mark.usefixtures("letters")
def test_redrive_takes_several_codes(taskctl: Taskctl, cloud: Cloud) -> None:
    result = taskctl("redrive", "--code", "imaging_crashed", "--code", "task_completed")
    assert result.stdout == "1 retried, 0 sent again, 1 only deleted.\n"
    assert cloud.messages() == {"queue": 1, "dead letters": 2}


@pytest.mark.usefixtures("letters")
def test_an_unknown_code_or_id_is_reported_in_one_line(taskctl: Taskctl, cloud: Cloud) -> None:
    for result in (taskctl("redrive", "--code", "unknown"), taskctl("show", "unknown")):
        assert result.exit_code == 1
        assert result.stdout == ""
        assert len(result.stderr.splitlines()) == 1
    assert cloud.messages() == {"queue": 0, "dead letters": 4}


def test_a_missing_deployment_option_is_a_usage_error(taskctl: Taskctl) -> None:
    result = taskctl("list", environment={})
    assert result.exit_code == 2
    assert "--environment" in result.stderr


def test_a_missing_queue_is_reported_in_one_line(taskctl: Taskctl, cloud: Cloud) -> None:
    wrong = {**cloud.resources.environment(), "DEAD_LETTER_QUEUE_URL": "https://sqs/1/none"}
    result = taskctl("list", environment=wrong)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1


@pytest.fixture
def staging(cloud: Cloud) -> None:
    """The stack outputs of a deployment with 1 day of retention."""
    outputs = {
        "TaskTable": cloud.resources.task_table,
        "TaskQueueUrl": cloud.resources.task_queue_url,
        "DeadLetterQueueUrl": cloud.resources.dead_letter_queue_url,
        "RowRetentionS": "86400",
    }
    template = {
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
        "Outputs": {name: {"Value": value} for name, value in outputs.items()},
    }
    client = boto3.client("cloudformation", region_name="us-east-1")
    client.create_stack(StackName="taskfleet-staging-state", TemplateBody=json.dumps(template))


@pytest.mark.usefixtures("staging")
def test_the_environment_option_finds_the_deployment(taskctl: Taskctl, cloud: Cloud) -> None:
    add_letter(cloud, failed(IDS[0], "storage_failed"))
    result = taskctl("list", "--environment", "staging", environment={})
    assert "storage_failed" in result.stdout


@pytest.mark.usefixtures("staging")
def test_a_redriven_task_gets_the_settings_of_the_deployment_not_of_the_shell(
    taskctl: Taskctl, cloud: Cloud
) -> None:
    add_letter(cloud, failed(IDS[0], "storage_failed"))
    shell = {"ROW_RETENTION_S": "60"}
    taskctl("redrive", "--code", "storage_failed", "--environment", "staging", environment=shell)
    row = TaskTable(cloud.dynamodb, table=cloud.resources.task_table, retention=NOW - NOW).get(
        IDS[0]
    )
    assert row is not None
    assert row.expires_at - row.deadline_at == timedelta(days=1)
