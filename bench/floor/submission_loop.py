"""The floor of a submission: a loop of the two AWS calls that every submission needs.

``python -m bench.floor.submission_loop 1000`` submits 1,000 tasks, in one thread with stock boto3,
and prints the CPU milliseconds per task.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from uuid import uuid4

import boto3

from bench.rows import row_template

IMAGE_URL = "https://images.example.com/albums/2026/rocket.jpg"
"""Nothing fetches it."""
WARM_UP_SUBMISSIONS = 50


def submitter() -> Callable[[], None]:
    session = boto3.Session(region_name=os.environ["AWS_REGION"])
    sqs, dynamodb = session.client("sqs"), session.client("dynamodb")
    row = row_template(IMAGE_URL)

    def submit() -> None:
        task_id, request_id = str(uuid4()), uuid4().hex
        dynamodb.put_item(
            TableName=os.environ["TASK_TABLE"],
            Item={**row, "taskId": {"S": task_id}, "requestId": {"S": request_id}},
            ConditionExpression="attribute_not_exists(taskId)",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
        body = json.dumps({"taskId": task_id, "requestId": request_id})
        sqs.send_message(QueueUrl=os.environ["TASK_QUEUE_URL"], MessageBody=body)

    return submit


def main(submissions: int) -> None:
    submit = submitter()
    for _ in range(WARM_UP_SUBMISSIONS):
        submit()
    started_s = time.process_time()
    for _ in range(submissions):
        submit()
    print((time.process_time() - started_s) / submissions * 1_000)


if __name__ == "__main__":
    main(int(sys.argv[1]))
