"""Creates the AWS resources of the services without CloudFormation, for `make run` and for tests.

The constants have the shape of AWS API parameters. CloudFormation properties have the same shape,
so a test compares the constants with the deployed template.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.common.task_table import OPEN_TASKS_INDEX

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_dynamodb.type_defs import TimeToLiveSpecificationTypeDef
    from types_boto3_s3 import S3Client
    from types_boto3_secretsmanager import SecretsManagerClient
    from types_boto3_sqs import SQSClient
    from types_boto3_sqs.literals import QueueAttributeNameType

TABLE: Mapping[str, Any] = {
    "KeySchema": [{"AttributeName": "taskId", "KeyType": "HASH"}],
    "AttributeDefinitions": [
        {"AttributeName": "taskId", "AttributeType": "S"},
        {"AttributeName": "openShard", "AttributeType": "N"},
        {"AttributeName": "checkAt", "AttributeType": "N"},
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": OPEN_TASKS_INDEX,
            "KeySchema": [
                {"AttributeName": "openShard", "KeyType": "HASH"},
                {"AttributeName": "checkAt", "KeyType": "RANGE"},
            ],
            "Projection": {
                "ProjectionType": "INCLUDE",
                "NonKeyAttributes": ["deadlineAt", "unsent"],
            },
        },
    ],
    "BillingMode": "PAY_PER_REQUEST",
}
TIME_TO_LIVE: "TimeToLiveSpecificationTypeDef" = {"AttributeName": "expiresAt", "Enabled": True}

_DAY_S = 86_400

QUEUE: Mapping["QueueAttributeNameType", int] = {
    "VisibilityTimeout": 60,
    "MessageRetentionPeriod": 4 * _DAY_S,
}
"""In seconds."""
DEAD_LETTER_QUEUE: Mapping["QueueAttributeNameType", int] = {"MessageRetentionPeriod": 14 * _DAY_S}
MAX_RECEIVE_COUNT = 1_000

NO_API_KEYS = "{}"
"""Initial value of the secret."""


@dataclass(frozen=True, slots=True)
class Resources:
    """The names and URLs by which the services find the resources."""

    task_table: str
    task_queue_url: str
    dead_letter_queue_url: str
    result_bucket: str
    api_keys_secret_id: str

    def environment(self) -> dict[str, str]:
        """Environment variables of the services."""
        return {
            "TASK_TABLE": self.task_table,
            "TASK_QUEUE_URL": self.task_queue_url,
            "DEAD_LETTER_QUEUE_URL": self.dead_letter_queue_url,
            "RESULT_BUCKET": self.result_bucket,
            "API_KEYS_SECRET_ID": self.api_keys_secret_id,
        }


def create(
    *,
    dynamodb: "DynamoDBClient",
    sqs: "SQSClient",
    s3: "S3Client",
    secretsmanager: "SecretsManagerClient",
    prefix: str = "taskfleet",
) -> Resources:
    """Create all resources. Names start with `prefix`. Raises botocore's errors."""
    dead_letter_queue_url, task_queue_url = _create_queues(sqs, prefix)
    return Resources(
        task_table=_create_table(dynamodb, f"{prefix}-tasks"),
        task_queue_url=task_queue_url,
        dead_letter_queue_url=dead_letter_queue_url,
        result_bucket=_create_bucket(s3, f"{prefix}-results"),
        api_keys_secret_id=_create_secret(secretsmanager, f"{prefix}-api-keys"),
    )


def _create_table(client: "DynamoDBClient", name: str) -> str:
    client.create_table(TableName=name, **TABLE)
    client.get_waiter("table_exists").wait(TableName=name)
    client.update_time_to_live(TableName=name, TimeToLiveSpecification=TIME_TO_LIVE)
    return name


def _create_queues(client: "SQSClient", prefix: str) -> tuple[str, str]:
    dead_letters = client.create_queue(
        QueueName=f"{prefix}-dead-letters", Attributes=_as_strings(DEAD_LETTER_QUEUE)
    )["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=dead_letters, AttributeNames=["QueueArn"])
    redrive = {
        "deadLetterTargetArn": arn["Attributes"]["QueueArn"],
        "maxReceiveCount": MAX_RECEIVE_COUNT,
    }
    queue = client.create_queue(
        QueueName=f"{prefix}-tasks",
        Attributes={**_as_strings(QUEUE), "RedrivePolicy": json.dumps(redrive)},
    )["QueueUrl"]
    return dead_letters, queue


def _create_bucket(client: "S3Client", name: str) -> str:
    client.create_bucket(Bucket=name)
    return name


def _create_secret(client: "SecretsManagerClient", name: str) -> str:
    client.create_secret(Name=name, SecretString=NO_API_KEYS)
    return name


def _as_strings(
    attributes: Mapping["QueueAttributeNameType", int],
) -> dict["QueueAttributeNameType", str]:
    return {name: str(value) for name, value in attributes.items()}
