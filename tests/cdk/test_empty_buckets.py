"""An environment's buckets, made ready to be deleted."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from cdk.empty_buckets import NotDisposable, empty_buckets

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_s3 import S3Client

TEMPLATE = {
    "Resources": {
        name: {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": f"dev-{name.lower()}"}}
        for name in ("Results", "Logs")
    },
    "Outputs": {
        "ResultBucket": {"Value": {"Ref": "Results"}},
        "LogBucket": {"Value": {"Ref": "Logs"}},
    },
}
BUCKETS = ("dev-results", "dev-logs")


class Account:
    def __init__(self) -> None:
        session = boto3.Session("test", "test", region_name="us-east-1")
        self.cloudformation: CloudFormationClient = session.client("cloudformation")
        self.s3: S3Client = session.client("s3")

    def deploy(self, *, protected: bool) -> None:
        self.cloudformation.create_stack(
            StackName="taskfleet-dev-state",
            TemplateBody=json.dumps(TEMPLATE),
            EnableTerminationProtection=protected,
        )
        for bucket in BUCKETS:
            for number in range(3):
                self.s3.put_object(Bucket=bucket, Key=f"results/{number}", Body=b"x")

    def objects(self) -> int:
        return sum(self.s3.list_objects_v2(Bucket=bucket)["KeyCount"] for bucket in BUCKETS)

    def empty(self) -> None:
        empty_buckets(cloudformation=self.cloudformation, s3=self.s3, environment="dev")


@pytest.fixture
def account() -> Iterator[Account]:
    with mock_aws():
        yield Account()


def test_a_disposable_environment_loses_every_object(account: Account) -> None:
    account.deploy(protected=False)

    account.empty()

    assert account.objects() == 0


def test_nothing_can_arrive_afterwards(account: Account) -> None:
    account.deploy(protected=False)

    account.empty()

    for bucket in BUCKETS:
        policy = json.loads(account.s3.get_bucket_policy(Bucket=bucket)["Policy"])
        (statement,) = policy["Statement"]
        assert statement["Effect"] == "Deny"
        assert statement["Action"] == "s3:PutObject"
        assert statement["Principal"] == "*"
        assert statement["Resource"] == f"arn:aws:s3:::{bucket}/*"


def test_a_protected_environment_loses_nothing(account: Account) -> None:
    account.deploy(protected=True)

    with pytest.raises(NotDisposable, match="dev keeps its data"):
        account.empty()

    assert account.objects() == 6


def test_an_environment_that_is_gone_is_no_error(account: Account) -> None:
    account.empty()

    with pytest.raises(ClientError):
        account.s3.head_bucket(Bucket=BUCKETS[0])
