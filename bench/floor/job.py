"""The work of one task and nothing else: claim, fetch, process, store, complete.

It uses stock boto3 and the worker's Pillow calls, without heartbeats, address checks, isolation and
log. The floor and the peers run it.
"""

import hashlib
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from typing import Any

import boto3
import urllib3
from botocore.config import Config
from PIL import Image, ImageCms

SRGB = ImageCms.createProfile("sRGB")


class Job:
    """Thread-safe. `threads` is the number of threads that share its connections."""

    def __init__(self, *, threads: int) -> None:
        config = Config(max_pool_connections=threads)
        session = boto3.Session(region_name=os.environ["AWS_REGION"])
        self._dynamodb = session.client("dynamodb", config=config)
        self._s3 = session.client("s3", config=config)
        self._http = urllib3.PoolManager(maxsize=threads)
        self._table = os.environ["TASK_TABLE"]
        self._bucket = os.environ["RESULT_BUCKET"]

    def run(self, task_id: str) -> None:
        row = self._claim(task_id)
        source = self._http.request("GET", row["inputImageUrl"]["S"]).data
        body, content_type, size = grayscale(source)
        key = f"results/{task_id}/{row['attempt']['N']}.{content_type.partition('/')[2]}"
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType=content_type)
        self._complete(row, key, body, content_type, size)

    def _claim(self, task_id: str) -> Mapping[str, Any]:
        now = datetime.now(UTC)
        return self._dynamodb.update_item(
            TableName=self._table,
            Key={"taskId": {"S": task_id}},
            UpdateExpression="SET #status = :target, updatedAt = :nowText, "
            "attempt = attempt + :one, leaseOwner = :leaseOwner, leaseUntil = :leaseUntil, "
            "startedAt = if_not_exists(startedAt, :nowText) "
            "REMOVE unsent, nextAttemptAt, willRetry, failureCode, failureReason",
            ConditionExpression="(#status = :PENDING OR (#status = :FAILED AND willRetry = :true)) "
            "AND deadlineAt > :nowText AND NOT nextAttemptAt > :now",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={
                ":PENDING": {"S": "PENDING"},
                ":FAILED": {"S": "FAILED"},
                ":target": {"S": "RUNNING"},
                ":true": {"BOOL": True},
                ":one": {"N": "1"},
                ":now": {"N": f"{now.timestamp():.3f}"},
                ":nowText": {"S": now.isoformat(timespec="milliseconds")},
                ":leaseOwner": {"S": "0123456789abcdef"},
                ":leaseUntil": {"N": f"{now.timestamp() + 60:.3f}"},
            },
            ReturnValues="ALL_NEW",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )["Attributes"]

    def _complete(
        self,
        row: Mapping[str, Any],
        key: str,
        body: bytes,
        content_type: str,
        size: tuple[int, int],
    ) -> None:
        now = datetime.now(UTC)
        result = {
            "key": {"S": key},
            "contentType": {"S": content_type},
            "bytes": {"N": str(len(body))},
            "width": {"N": str(size[0])},
            "height": {"N": str(size[1])},
            "sha256": {"S": hashlib.sha256(body).hexdigest()},
        }
        self._dynamodb.update_item(
            TableName=self._table,
            Key={"taskId": row["taskId"]},
            UpdateExpression="SET #status = :target, updatedAt = :nowText, #result = :result, "
            "finishedAt = :nowText, expiresAt = :expiresAt "
            "REMOVE leaseOwner, leaseUntil, openShard, checkAt, checkedBy, unsent, nextAttemptAt",
            ConditionExpression="((#status = :RUNNING AND leaseUntil <= :now) OR "
            "(#status = :RUNNING AND NOT leaseUntil <= :now)) AND "
            "attempt = :attempt AND leaseOwner = :leaseOwner",
            ExpressionAttributeNames={"#status": "status", "#result": "result"},
            ExpressionAttributeValues={
                ":RUNNING": {"S": "RUNNING"},
                ":target": {"S": "COMPLETED"},
                ":now": {"N": f"{now.timestamp():.3f}"},
                ":nowText": {"S": now.isoformat(timespec="milliseconds")},
                ":attempt": row["attempt"],
                ":leaseOwner": row["leaseOwner"],
                ":expiresAt": {"N": f"{now.timestamp() + 2_592_000:.3f}"},
                ":result": {"M": result},
            },
            ReturnValues="ALL_NEW",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )


def grayscale(source: bytes) -> tuple[bytes, str, tuple[int, int]]:
    """The worker's Pillow calls for an upright image, with or without a color profile."""
    image = Image.open(BytesIO(source), formats=["JPEG", "PNG"])
    image.getexif()
    file_format, icc = image.format or "", image.info.get("icc_profile")
    if icc is None or "sRGB" in ImageCms.getProfileDescription(BytesIO(icc)):
        image.draft("L", image.size)
        image.load()
    else:
        image.load()
        to_srgb(icc, image.mode).apply_in_place(image)
    gray = image.convert("L")
    gray.info.clear()
    into = BytesIO()
    # JPEG uses `quality`, PNG `compress_level`.
    gray.save(into, file_format, quality=85, compress_level=4)
    return into.getvalue(), Image.MIME[file_format], gray.size


@cache
def to_srgb(icc: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(BytesIO(icc), SRGB, mode, mode)
