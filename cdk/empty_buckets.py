"""Make an environment's buckets ready to be deleted: ``python -m cdk.empty_buckets ENVIRONMENT``.

CloudFormation deletes only empty buckets, and emptying them from inside it would take a Lambda.
Before they are emptied they are closed: logs are delivered for minutes after the last request, and
one of them arriving would be enough for the deletion to fail.
"""

import json
import sys
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ObjectIdentifierTypeDef

BUCKETS = ("ResultBucket", "LogBucket")
"""Outputs of the state stack."""


class NotDisposable(Exception):
    """The environment is protected against deletion."""


def empty_buckets(
    *, cloudformation: "CloudFormationClient", s3: "S3Client", environment: str
) -> None:
    """Raises :class:`NotDisposable`; does nothing where there is no such environment."""
    name = f"taskfleet-{environment}-state"
    try:
        (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError":  # there is no such stack
            return
        raise
    if stack.get("EnableTerminationProtection"):
        raise NotDisposable(
            f"{environment} keeps its data: its stacks are protected against deletion. "
            "Lift the protection of network, state and load balancer by hand if you mean it."
        )
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    for bucket in BUCKETS:
        _close(s3, outputs[bucket])
        _empty(s3, outputs[bucket])


def _close(s3: "S3Client", bucket: str) -> None:
    nobody_writes = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:PutObject",
                "Resource": f"arn:aws:s3:::{bucket}/*",
            }
        ],
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(nobody_writes))


def _empty(s3: "S3Client", bucket: str) -> None:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        keys: list[ObjectIdentifierTypeDef] = [
            {"Key": item["Key"]} for item in page.get("Contents", [])
        ]
        if keys:
            s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})


def main() -> None:
    (environment,) = sys.argv[1:]
    try:
        empty_buckets(
            cloudformation=boto3.client("cloudformation"),
            s3=boto3.client("s3"),
            environment=environment,
        )
    except NotDisposable as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
