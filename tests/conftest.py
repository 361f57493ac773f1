"""Fixtures for most tests: a clock, and the AWS resources in moto's memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import InitVar, dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config
from moto import mock_aws

from local import aws_resources
from services.common.result_bucket import ResultBucket
from services.common.task_queue import TaskQueue
from services.common.task_table import TaskTable
from tests import hypothesis_profiles
from tests.tasks import NOW, POLICY

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_s3 import S3Client
    from types_boto3_secretsmanager import SecretsManagerClient
    from types_boto3_sqs import SQSClient


hypothesis_profiles.register()


@dataclass
class Clock:
    """A wall clock that stands still until a test advances it."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, duration: timedelta) -> datetime:
        self.now += duration
        return self.now


@dataclass(frozen=True)
class Cloud:
    """New AWS resources, and clients to inspect them."""

    dynamodb: "DynamoDBClient"
    sqs: "SQSClient"
    s3: "S3Client"
    secretsmanager: "SecretsManagerClient"
    resources: aws_resources.Resources = field(init=False)
    prefix: InitVar[str] = "taskfleet"

    def __post_init__(self, prefix: str) -> None:
        resources = aws_resources.create(
            dynamodb=self.dynamodb,
            sqs=self.sqs,
            s3=self.s3,
            secretsmanager=self.secretsmanager,
            prefix=prefix,
        )
        object.__setattr__(self, "resources", resources)

    def messages(self) -> dict[str, int]:
        """The number of messages, in any state, in the queue and the dead-letter queue."""
        names = {
            "queue": self.resources.task_queue_url,
            "dead letters": self.resources.dead_letter_queue_url,
        }
        counts = {}
        for name, url in names.items():
            backlog = TaskQueue(self.sqs, url=url).backlog()
            counts[name] = backlog.visible + backlog.in_flight + backlog.delayed
        return counts


@pytest.fixture
def clock() -> Clock:
    return Clock()


def new_session() -> boto3.Session:
    return boto3.Session(
        region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )


@pytest.fixture(scope="session")
def session() -> boto3.Session:
    """One session for all tests, because loading the AWS API descriptions is slow."""
    return new_session()


@contextmanager
def cloud_in_memory(session: boto3.Session) -> Iterator[Cloud]:
    with mock_aws():
        yield Cloud(
            dynamodb=session.client("dynamodb"),
            sqs=session.client("sqs"),
            s3=session.client("s3", config=Config(signature_version="s3v4")),
            secretsmanager=session.client("secretsmanager"),
        )


@pytest.fixture
def cloud(session: boto3.Session) -> Iterator[Cloud]:
    with cloud_in_memory(session) as cloud:
        yield cloud


@pytest.fixture
def table(cloud: Cloud) -> TaskTable:
    return TaskTable(cloud.dynamodb, table=cloud.resources.task_table, retention=POLICY.retention)


@pytest.fixture
def queue(cloud: Cloud) -> TaskQueue:
    return TaskQueue(cloud.sqs, url=cloud.resources.task_queue_url)


@pytest.fixture
def dead_letters(cloud: Cloud) -> TaskQueue:
    return TaskQueue(cloud.sqs, url=cloud.resources.dead_letter_queue_url)


@pytest.fixture
def bucket(cloud: Cloud) -> ResultBucket:
    return ResultBucket(cloud.s3, bucket=cloud.resources.result_bucket)
