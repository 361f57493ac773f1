"""Behavior of the created resources."""

import json

from local import aws_resources
from services.common.task_table import OPEN_TASKS_INDEX
from tests.conftest import Cloud


def test_a_message_moves_to_the_dead_letter_queue_after_the_last_receive(cloud: Cloud) -> None:
    attributes = cloud.sqs.get_queue_attributes(
        QueueUrl=cloud.resources.task_queue_url, AttributeNames=["RedrivePolicy"]
    )["Attributes"]
    redrive = json.loads(attributes["RedrivePolicy"])
    assert redrive["deadLetterTargetArn"].endswith("dead-letters")
    assert int(redrive["maxReceiveCount"]) == aws_resources.MAX_RECEIVE_COUNT


def test_the_visibility_timeout_equals_the_lease(cloud: Cloud) -> None:
    attributes = cloud.sqs.get_queue_attributes(
        QueueUrl=cloud.resources.task_queue_url, AttributeNames=["VisibilityTimeout"]
    )["Attributes"]
    assert attributes["VisibilityTimeout"] == "60"


def test_the_index_contains_only_open_tasks(cloud: Cloud) -> None:
    item = {"taskId": {"S": "open"}, "openShard": {"N": "7"}, "checkAt": {"N": "1.5"}}
    cloud.dynamodb.put_item(TableName=cloud.resources.task_table, Item=item)
    cloud.dynamodb.put_item(
        TableName=cloud.resources.task_table, Item={"taskId": {"S": "finished"}}
    )
    response = cloud.dynamodb.scan(TableName=cloud.resources.task_table, IndexName=OPEN_TASKS_INDEX)
    assert response["Items"] == [item]


def test_rows_expire(cloud: Cloud) -> None:
    described = cloud.dynamodb.describe_time_to_live(TableName=cloud.resources.task_table)
    assert described["TimeToLiveDescription"] == {
        "AttributeName": "expiresAt",
        "TimeToLiveStatus": "ENABLED",
    }


def test_the_secret_initially_contains_no_keys(cloud: Cloud) -> None:
    response = cloud.secretsmanager.get_secret_value(SecretId=cloud.resources.api_keys_secret_id)
    assert response["SecretString"] == "{}"


def test_several_deployments_fit_into_one_account(cloud: Cloud) -> None:
    other = aws_resources.create(
        dynamodb=cloud.dynamodb,
        sqs=cloud.sqs,
        s3=cloud.s3,
        secretsmanager=cloud.secretsmanager,
        prefix="another",
    )
    assert not set(other.environment().values()) & set(cloud.resources.environment().values())
