"""Accepts findings of cdk-nag, each with a reason."""

from aws_cdk import Acknowledgment, Stack, Validations
from aws_cdk.aws_s3 import IBucket
from constructs import IConstruct


def acknowledge(construct: IConstruct, finding: str, *, reason: str) -> None:
    """Accept `finding`, such as ``AwsSolutions-S1``, for this construct only."""
    Validations.of(construct).acknowledge(Acknowledgment(id=finding, reason=reason))


def acknowledge_objects(
    construct: IConstruct, bucket: IBucket, pattern: str, *, reason: str
) -> None:
    """Accept a policy of `construct` for the objects `pattern` in another stack's bucket.

    cdk-nag names this finding after the resource in the template: the export of the bucket's ARN.
    """
    stack = Stack.of(bucket)
    export = stack.resolve(stack.export_value(bucket.bucket_arn))["Fn::ImportValue"]
    acknowledge(construct, f"AwsSolutions-IAM5[Resource::{export}/{pattern}]", reason=reason)
