"""Empty an environment's buckets: ``python -m cdk.commands.empty_buckets ENVIRONMENT``.

CloudFormation deletes only empty buckets, and a stack could only empty them with a Lambda function.
The command first denies all writes: AWS delivers logs for minutes after the last request, and a
single late log would make the deletion fail.
"""

import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ObjectIdentifierTypeDef

BUCKETS = ("ResultBucket", "LogBucket")
"""Outputs of the state stack that name the buckets."""

CLOSED = "ClosedForDeletion"
"""Id of the statement in a bucket's policy that denies writes."""


class NotDisposable(Exception):
    """The environment was not deployed with ``disposable=true``."""


class DeletionRefused(Exception):
    """S3 refused to delete some objects."""


def empty_buckets(
    *, cloudformation: "CloudFormationClient", s3: "S3Client", environment: str
) -> None:
    """Delete all objects in the environment's buckets.

    Does nothing if the environment does not exist or its creation was rolled back. Raises
    :class:`NotDisposable` before it changes anything, and :class:`DeletionRefused`.
    """
    name = f"taskfleet-{environment}-state"
    try:
        (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError":  # the stack does not exist
            return
        raise
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    if not outputs:  # the creation was rolled back, and the buckets were deleted
        return
    if stack.get("EnableTerminationProtection") or outputs.get("Disposable") != "true":
        raise NotDisposable(
            f"{environment} keeps its data, because it was not deployed with disposable=true. "
            "To delete the data, deploy again with disposable=true added to the same SETTINGS."
        )
    partition = stack["StackId"].split(":")[1]
    for bucket in BUCKETS:
        try:
            _deny_writes(s3, outputs[bucket], partition=partition)
            _empty(s3, outputs[bucket])
        except s3.exceptions.NoSuchBucket:  # deleted by an earlier, failed deletion of the stack
            continue


def _deny_writes(s3: "S3Client", bucket: str, *, partition: str) -> None:
    """Add a denial of all writes to the bucket's policy."""
    policy = _policy(s3, bucket)
    denial = {
        "Sid": CLOSED,
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": f"arn:{partition}:s3:::{bucket}/*",
    }
    others = [statement for statement in policy["Statement"] if statement.get("Sid") != CLOSED]
    s3.put_bucket_policy(
        Bucket=bucket, Policy=json.dumps({**policy, "Statement": [*others, denial]})
    )


def _policy(s3: "S3Client", bucket: str) -> dict[str, Any]:
    try:
        policy: dict[str, Any] = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchBucketPolicy":
            return {"Version": "2012-10-17", "Statement": []}
        raise
    return policy


def _empty(s3: "S3Client", bucket: str) -> None:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        keys: list[ObjectIdentifierTypeDef] = [
            {"Key": item["Key"]} for item in page.get("Contents", [])
        ]
        if keys:
            deleted = s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
            for error in deleted.get("Errors", []):
                raise DeletionRefused(
                    f"S3 did not delete {error.get('Key')} in {bucket}: {error.get('Message')}"
                )


def main(arguments: Sequence[str]) -> None:
    (environment,) = arguments
    # The CDK reads the region from AWS_REGION, but boto3 only from AWS_DEFAULT_REGION.
    session = boto3.Session(region_name=os.environ.get("AWS_REGION"))
    try:
        empty_buckets(
            cloudformation=session.client("cloudformation"),
            s3=session.client("s3"),
            environment=environment,
        )
    except (NotDisposable, DeletionRefused) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
