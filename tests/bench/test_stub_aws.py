"""The stub of AWS behaves as the services that it stands for, as far as the benchmark needs it."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from bench.stub_aws.client import StubAws
from bench.stub_aws.service import Latencies
from local.embedded_aws import REGION

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_sqs import SQSClient

ROW = {"status": {"S": "PENDING"}, "attempt": {"N": "0"}}
KEY = {"taskId": {"S": "00000000-0000-4000-8000-000000000000"}}


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[StubAws]:
    images = tmp_path / "images"
    images.mkdir()
    with StubAws(images=images, log=tmp_path / "log") as stub:
        yield stub


@pytest.fixture
def sqs(aws: StubAws) -> "SQSClient":
    return _session().client("sqs", endpoint_url=aws.endpoint_url)


@pytest.fixture
def dynamodb(aws: StubAws) -> "DynamoDBClient":
    return _session().client("dynamodb", endpoint_url=aws.endpoint_url)


def _session() -> boto3.Session:
    return boto3.Session(region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test")


def queue(aws: StubAws) -> str:
    return aws.environment({})["TASK_QUEUE_URL"]


def receive(sqs: "SQSClient", aws: StubAws, limit: int = 10, wait_s: int = 0) -> list[Any]:
    received = sqs.receive_message(
        QueueUrl=queue(aws), MaxNumberOfMessages=limit, WaitTimeSeconds=wait_s
    )
    return list(received.get("Messages", []))


def test_a_receive_returns_up_to_its_limit_and_hides_the_messages(
    sqs: "SQSClient", aws: StubAws
) -> None:
    aws.send(first=0, count=12)

    assert [len(receive(sqs, aws)) for _ in range(3)] == [10, 2, 0]
    assert aws.state().received == 12
    assert aws.state().receives == 2


def test_messages_are_held_back_until_they_are_released(sqs: "SQSClient", aws: StubAws) -> None:
    aws.hold_messages()
    sqs.send_message(QueueUrl=queue(aws), MessageBody="first")
    sqs.send_message(QueueUrl=queue(aws), MessageBody="second")
    assert receive(sqs, aws) == []

    aws.release(1)

    assert [message["Body"] for message in receive(sqs, aws)] == ["first"]


def test_a_message_whose_visibility_ends_is_received_again(sqs: "SQSClient", aws: StubAws) -> None:
    aws.send(first=0, count=1)
    [message] = receive(sqs, aws)

    sqs.change_message_visibility(
        QueueUrl=queue(aws), ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
    )

    assert len(receive(sqs, aws, wait_s=20)) == 1


def test_a_deleted_message_is_not_in_flight(sqs: "SQSClient", aws: StubAws) -> None:
    aws.send(first=0, count=2)
    entries: list[Any] = [
        {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
        for number, message in enumerate(receive(sqs, aws))
    ]
    assert aws.state().in_flight == 2

    sqs.delete_message_batch(QueueUrl=queue(aws), Entries=entries)

    assert aws.state().in_flight == 0
    assert aws.state().deleted == 2


def test_an_update_sets_adds_and_removes(dynamodb: "DynamoDBClient", aws: StubAws) -> None:
    aws.put_rows({**ROW, "old": {"S": "x"}}, first=0, count=1)

    updated = dynamodb.update_item(
        TableName="tasks",
        Key=KEY,
        UpdateExpression="SET #status = :status, attempt = attempt + :one, "
        "startedAt = if_not_exists(startedAt, :now) REMOVE old ADD crashes :one",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={
            ":status": {"S": "RUNNING"},
            ":one": {"N": "1"},
            ":now": {"S": "now"},
        },
        ReturnValues="ALL_NEW",
    )

    assert updated["Attributes"] == {
        **KEY,
        "status": {"S": "RUNNING"},
        "attempt": {"N": "1"},
        "startedAt": {"S": "now"},
        "crashes": {"N": "1"},
    }


@pytest.mark.parametrize(
    ("row", "update", "units"),
    [
        ({}, "SET note = :short", 1),
        ({}, "SET note = :long", 2),
        ({"openShard": {"N": "1"}, "checkAt": {"N": "1"}}, "SET note = :short", 1),
        ({"openShard": {"N": "1"}, "checkAt": {"N": "1"}}, "SET checkAt = :two", 3),
        ({"openShard": {"N": "1"}, "checkAt": {"N": "1"}}, "REMOVE openShard, checkAt", 2),
    ],
    ids=["small", "over 1 KB", "not in the index", "moves in the index", "leaves the index"],
)
def test_a_write_costs_units_for_its_row_and_its_index_entry(
    dynamodb: "DynamoDBClient", aws: StubAws, row: Any, update: str, units: int
) -> None:
    aws.put_rows({**ROW, **row}, first=0, count=1)

    dynamodb.update_item(
        TableName="tasks",
        Key=KEY,
        UpdateExpression=update,
        ExpressionAttributeValues={
            ":short": {"S": "x"},
            ":long": {"S": "x" * 1_024},
            ":two": {"N": "2"},
        },
    )

    assert aws.state().write_units == units


def test_a_call_that_the_stub_does_not_know_fails(dynamodb: "DynamoDBClient") -> None:
    with pytest.raises(ClientError, match="UnknownOperationException"):
        dynamodb.list_tables()


def test_a_response_takes_at_least_its_latency(dynamodb: "DynamoDBClient", aws: StubAws) -> None:
    aws.put_rows(ROW, first=0, count=1)
    aws.delay(Latencies(dynamodb=0.2))

    started = time.monotonic()
    dynamodb.get_item(TableName="tasks", Key=KEY)

    assert time.monotonic() - started >= 0.2
