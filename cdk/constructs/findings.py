"""Findings of cdk-nag that we live with, each with its reason."""

from aws_cdk import Acknowledgment, Stack, Validations
from aws_cdk.aws_s3 import IBucket
from constructs import IConstruct


def acknowledge(construct: IConstruct, finding: str, *, reason: str) -> None:
    """Let `finding` (such as ``AwsSolutions-S1``) stand, for this construct only."""
    Validations.of(construct).acknowledge(Acknowledgment(id=finding, reason=reason))


def acknowledge_objects(
    construct: IConstruct, bucket: IBucket, pattern: str, *, reason: str
) -> None:
    """Let a policy of `construct` stand that names the objects `pattern` of another stack's bucket.

    cdk-nag calls a finding by what stands in the template: here the name of the bucket's export.
    """
    stack = Stack.of(bucket)
    export = stack.resolve(stack.export_value(bucket.bucket_arn))["Fn::ImportValue"]
    acknowledge(construct, f"AwsSolutions-IAM5[Resource::{export}/{pattern}]", reason=reason)
