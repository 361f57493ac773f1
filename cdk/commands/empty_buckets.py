"""Empty an environment's buckets: ``python -m cdk.commands.empty_buckets ENVIRONMENT``.

CloudFormation deletes only empty buckets, and emptying them from inside it would take a Lambda.
Before they are emptied they are closed: logs are delivered for minutes after the last request, and
one of them arriving would be enough for the deletion to fail.
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
"""Outputs of the state stack."""

CLOSED = "ClosedForDeletion"
"""The statement in a bucket's policy that lets nothing in any more."""


class NotDisposable(Exception):
    """The environment was not deployed as one whose data goes with it."""


class NotEmptied(Exception):
    """S3 refused to delete some objects."""


def empty_buckets(
    *, cloudformation: "CloudFormationClient", s3: "S3Client", environment: str
) -> None:
    """Does nothing where there is no such environment, or its creation was rolled back.

    Raises :class:`NotDisposable` before anything is changed, and :class:`NotEmptied`.
    """
    name = f"taskfleet-{environment}-state"
    try:
        (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError":  # there is no such stack
            return
        raise
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    if not outputs:  # rolled back: its buckets are gone already
        return
    if stack.get("EnableTerminationProtection") or outputs.get("Disposable") != "true":
        raise NotDisposable(
            f"{environment} keeps its data: it was not deployed with disposable=true. "
            "Deploy it once more with that among the same SETTINGS if you mean it."
        )
    partition = stack["StackId"].split(":")[1]
    for bucket in BUCKETS:
        try:
            _close(s3, outputs[bucket], partition=partition)
            _empty(s3, outputs[bucket])
        except s3.exceptions.NoSuchBucket:  # an earlier deletion of the stack got so far
            continue


def _close(s3: "S3Client", bucket: str, *, partition: str) -> None:
    """Deny writing on top of what the policy says already."""
    policy = _policy(s3, bucket)
    closed = {
        "Sid": CLOSED,
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": f"arn:{partition}:s3:::{bucket}/*",
    }
    others = [each for each in policy["Statement"] if each.get("Sid") != CLOSED]
    s3.put_bucket_policy(
        Bucket=bucket, Policy=json.dumps({**policy, "Statement": [*others, closed]})
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
                raise NotEmptied(
                    f"{error.get('Key')} in {bucket} was not deleted: {error.get('Message')}"
                )


def main(arguments: Sequence[str]) -> None:
    (environment,) = arguments
    # Of the variables for a region the CDK reads this one, and boto3 only AWS_DEFAULT_REGION.
    session = boto3.Session(region_name=os.environ.get("AWS_REGION"))
    try:
        empty_buckets(
            cloudformation=session.client("cloudformation"),
            s3=session.client("s3"),
            environment=environment,
        )
    except (NotDisposable, NotEmptied) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
