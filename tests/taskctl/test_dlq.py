"""``taskctl dlq`` as an operator uses it."""

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
        known = {
            "AWS_REGION": "us-east-1",
            "COLUMNS": "200",
            **(cloud.resources.environment() if environment is None else environment),
        }
        return CliRunner().invoke(cli, ["dlq", *arguments], env=known)

    return run


def bury(cloud: Cloud, task: Task) -> str:
    """Write the task's row and put a letter of it into the dead-letter queue; its message id."""
    cloud.dynamodb.put_item(TableName=cloud.resources.task_table, Item=to_item(task))
    return bury_text(cloud, json.dumps({"taskId": task.task_id, "requestId": "r"}))


def bury_text(cloud: Cloud, text: str) -> str:
    sent = cloud.sqs.send_message(QueueUrl=cloud.resources.dead_letter_queue_url, MessageBody=text)
    return sent["MessageId"]


def failed(task_id: str, code: str) -> Task:
    return task_in(
        Phase.FAILED, task_id=task_id, failure_code=code, failure_reason=f"It is {code}."
    )


@pytest.fixture
def letters(cloud: Cloud) -> None:
    bury(cloud, failed(IDS[0], "storage_failed"))
    bury(cloud, failed(IDS[1], "imaging_crashed"))
    bury(cloud, task_in(Phase.COMPLETED, task_id=IDS[2]))
    bury_text(cloud, "\x1b[31mhello")


def listed(taskctl: Taskctl) -> dict[str, Any]:
    letters = json.loads(taskctl("list", "--json").stdout)
    return {letter["code"]: letter for letter in letters}


@pytest.mark.usefixtures("letters")
def test_the_list_says_of_every_letter_whose_it_is_and_why(taskctl: Taskctl) -> None:
    found = listed(taskctl)
    assert set(found) == {"storage_failed", "imaging_crashed", "task_completed", "unreadable"}
    assert found["storage_failed"]["taskId"] == IDS[0]
    table = taskctl("list").stdout
    assert all(task_id in table for task_id in IDS[:3])
    assert "It is storage_failed." in table


def test_an_empty_queue_is_said_to_be(taskctl: Taskctl) -> None:
    assert taskctl("list").stdout == "There are no dead letters.\n"


@pytest.mark.usefixtures("letters")
def test_a_letter_is_explained_by_the_id_of_its_task_or_of_its_message(
    taskctl: Taskctl, cloud: Cloud
) -> None:
    message_id = listed(taskctl)["storage_failed"]["letters"][0]["messageId"]
    by_task, by_message = (taskctl("show", each).stdout for each in (IDS[0], message_id))
    assert by_task == by_message
    assert "storage_failed" in by_task
    assert "It is storage_failed." in by_task
    assert "Look at the bucket" in by_task
    assert json.loads(taskctl("show", "--json", IDS[0]).stdout)["status"] == "FAILED"


@pytest.mark.usefixtures("letters")
def test_what_strangers_wrote_cannot_write_to_the_terminal(taskctl: Taskctl) -> None:
    message_id = listed(taskctl)["unreadable"]["letters"][0]["messageId"]
    for output in (taskctl("list").stdout, taskctl("show", message_id).stdout):
        assert "\x1b" not in output


@pytest.mark.usefixtures("letters")
def test_only_letters_of_the_code_are_redriven(taskctl: Taskctl, cloud: Cloud) -> None:
    result = taskctl("redrive", "--code", "storage_failed")
    assert result.stdout == "1 tried again, 0 only deleted.\n"
    table = TaskTable(cloud.dynamodb, table=cloud.resources.task_table, retention=NOW - NOW)
    statuses = [row.status for task_id in IDS[:3] if (row := table.get(task_id))]
    assert statuses == [Status.PENDING, Status.FAILED, Status.COMPLETED]
    assert cloud.messages() == {"queue": 1, "dead letters": 3}
    assert "storage_failed" not in listed(taskctl)


@pytest.mark.usefixtures("letters")
def test_several_codes_are_redriven_at_once(taskctl: Taskctl, cloud: Cloud) -> None:
    result = taskctl("redrive", "--code", "imaging_crashed", "--code", "task_completed")
    assert result.stdout == "1 tried again, 1 only deleted.\n"
    assert cloud.messages() == {"queue": 1, "dead letters": 2}


@pytest.mark.usefixtures("letters")
def test_what_is_not_there_is_one_sentence(taskctl: Taskctl, cloud: Cloud) -> None:
    for result in (taskctl("redrive", "--code", "nonsense"), taskctl("show", "nobody")):
        assert result.exit_code == 1
        assert result.stdout == ""
        assert len(result.stderr.splitlines()) == 1
    assert cloud.messages() == {"queue": 0, "dead letters": 4}


def test_nobody_guesses_which_deployment_is_meant(taskctl: Taskctl) -> None:
    result = taskctl("list", environment={})
    assert result.exit_code == 2
    assert "--environment" in result.stderr


def test_a_queue_that_is_not_there_is_one_sentence(taskctl: Taskctl, cloud: Cloud) -> None:
    wrong = {**cloud.resources.environment(), "DEAD_LETTER_QUEUE_URL": "https://sqs/1/none"}
    result = taskctl("list", environment=wrong)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1


@pytest.fixture
def staging(cloud: Cloud) -> None:
    """A stack with the outputs of a deployment, in which tasks get three attempts."""
    outputs = {
        "TaskTable": cloud.resources.task_table,
        "TaskQueueUrl": cloud.resources.task_queue_url,
        "DeadLetterQueueUrl": cloud.resources.dead_letter_queue_url,
        "AttemptLimit": "3",
        "RowRetentionS": "86400",
    }
    template = {
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
        "Outputs": {name: {"Value": value} for name, value in outputs.items()},
    }
    client = boto3.client("cloudformation", region_name="us-east-1")
    client.create_stack(StackName="taskfleet-staging-state", TemplateBody=json.dumps(template))


@pytest.mark.usefixtures("staging")
def test_a_deployment_is_found_by_its_environment(taskctl: Taskctl, cloud: Cloud) -> None:
    bury(cloud, failed(IDS[0], "storage_failed"))
    result = taskctl("list", "--environment", "staging", environment={})
    assert "storage_failed" in result.stdout


@pytest.mark.usefixtures("staging")
def test_a_redriven_task_gets_what_the_deployment_gives_whatever_the_shell_says(
    taskctl: Taskctl, cloud: Cloud
) -> None:
    bury(cloud, failed(IDS[0], "storage_failed"))
    shell = {"ATTEMPT_LIMIT": "9", "ROW_RETENTION_S": "60"}
    taskctl("redrive", "--code", "storage_failed", "--environment", "staging", environment=shell)
    row = TaskTable(cloud.dynamodb, table=cloud.resources.task_table, retention=NOW - NOW).get(
        IDS[0]
    )
    assert row is not None
    assert row.attempt_limit == row.attempt + 3
    assert row.expires_at - row.deadline_at == timedelta(days=1)
