"""Baseline of a submission: a loop of the two AWS calls that every submission needs.

It uses one thread and stock boto3, without HTTP, API key, validation and log. It reads lines
``<submissions> <image URL>`` from standard input. Another process measures its CPU time.
"""

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import boto3


class SubmissionBaseline:
    def __init__(self) -> None:
        session = boto3.Session(region_name=os.environ["AWS_REGION"])
        self._sqs, self._dynamodb = session.client("sqs"), session.client("dynamodb")
        self._queue_url, self._table = os.environ["TASK_QUEUE_URL"], os.environ["TASK_TABLE"]

    def submit(self, image_url: str) -> None:
        task_id, request_id, now = str(uuid4()), uuid4().hex, datetime.now(UTC)
        deadline = now + timedelta(days=1)
        self._dynamodb.put_item(
            TableName=self._table,
            Item={
                "taskId": {"S": task_id},
                "owner": {"S": "bench"},
                "requestHash": {"S": request_id * 2},
                "requestId": {"S": request_id},
                "inputImageUrl": {"S": image_url},
                "operations": {"L": [{"M": {"name": {"S": "grayscale"}}}]},
                "status": {"S": "PENDING"},
                "attempt": {"N": "0"},
                "attemptLimit": {"N": "5"},
                "createdAt": {"S": now.isoformat(timespec="milliseconds")},
                "queuedAt": {"S": now.isoformat(timespec="milliseconds")},
                "updatedAt": {"S": now.isoformat(timespec="milliseconds")},
                "deadlineAt": {"S": deadline.isoformat(timespec="milliseconds")},
                "expiresAt": {"N": f"{deadline.timestamp() + 2_592_000:.3f}"},
                "openShard": {"N": "41"},
                "checkAt": {"N": f"{now.timestamp() + 900:.3f}"},
                "checkGapS": {"N": "900"},
            },
            ConditionExpression="attribute_not_exists(taskId)",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
        body = json.dumps({"taskId": task_id, "requestId": request_id})
        self._sqs.send_message(QueueUrl=self._queue_url, MessageBody=body)


if __name__ == "__main__":
    baseline = SubmissionBaseline()
    for line in sys.stdin:
        submissions, image_url = line.split()
        for _ in range(int(submissions)):
            baseline.submit(image_url)
