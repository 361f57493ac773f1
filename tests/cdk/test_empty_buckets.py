"""`empty_buckets` prepares an environment's buckets for deletion."""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from cdk.commands.empty_buckets import DeletionRefused, NotDisposable, empty_buckets, main
from cdk.template.templates import Templates

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_s3 import S3Client

BUCKETS = ("dev-results", "dev-logs")
TLS_ONLY = {
    "Effect": "Deny",
    "Principal": "*",
    "Action": "s3:GetObject",  # an action that no test uses, since moto ignores conditions
    "Resource": "*",
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}


def template(*, disposable: bool) -> str:
    resources = {
        name: {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": f"dev-{name.lower()}"}}
        for name in ("Results", "Logs")
    }
    outputs = {
        "Disposable": {"Value": str(disposable).lower()},
        "ResultBucket": {"Value": {"Ref": "Results"}},
        "LogBucket": {"Value": {"Ref": "Logs"}},
    }
    return json.dumps({"Resources": resources, "Outputs": outputs})


class Account:
    def __init__(self, region: str = "us-east-1") -> None:
        session = boto3.Session("test", "test", region_name=region)
        self.cloudformation: CloudFormationClient = session.client("cloudformation")
        self.s3: S3Client = session.client("s3")

    def deploy(self, *, disposable: bool = True, protected: bool = False) -> None:
        self.cloudformation.create_stack(
            StackName="taskfleet-dev-state",
            TemplateBody=template(disposable=disposable),
            EnableTerminationProtection=protected,
        )
        policy = json.dumps({"Version": "2012-10-17", "Statement": [TLS_ONLY]})
        for bucket in BUCKETS:
            self.s3.put_bucket_policy(Bucket=bucket, Policy=policy)
            for number in range(3):
                self.s3.put_object(Bucket=bucket, Key=f"results/{number}", Body=b"x")

    def objects(self) -> int:
        return sum(self.s3.list_objects_v2(Bucket=bucket)["KeyCount"] for bucket in BUCKETS)

    def statements(self, bucket: str) -> list[dict[str, object]]:
        policy = json.loads(self.s3.get_bucket_policy(Bucket=bucket)["Policy"])
        found: list[dict[str, object]] = policy["Statement"]
        return found

    def empty(self) -> None:
        empty_buckets(cloudformation=self.cloudformation, s3=self.s3, environment="dev")


@pytest.fixture
def account() -> Iterator[Account]:
    with mock_aws():
        yield Account()


def test_all_objects_of_a_disposable_environment_are_deleted(account: Account) -> None:
    account.deploy()

    account.empty()

    assert account.objects() == 0


def test_writes_are_denied_afterwards(account: Account) -> None:
    account.deploy()

    account.empty()

    for bucket in BUCKETS:
        denial = account.statements(bucket)[-1]
        assert denial["Effect"] == "Deny"
        assert denial["Action"] == "s3:PutObject"
        assert denial["Principal"] == "*"
        assert denial["Resource"] == f"arn:aws:s3:::{bucket}/*"


def test_the_existing_bucket_policy_stays_in_force(account: Account) -> None:
    account.deploy()

    account.empty()

    for bucket in BUCKETS:
        assert TLS_ONLY in account.statements(bucket)


def test_repeating_the_command_changes_nothing(account: Account) -> None:
    account.deploy()

    account.empty()
    account.empty()

    assert [len(account.statements(bucket)) for bucket in BUCKETS] == [2, 2]


def test_it_continues_after_a_failed_deletion_of_the_stack(account: Account) -> None:
    account.deploy()
    account.empty()
    account.s3.delete_bucket(Bucket="dev-results")
    account.s3.delete_bucket_policy(Bucket="dev-logs")
    account.s3.put_object(Bucket="dev-logs", Key="late", Body=b"x")

    account.empty()

    assert account.s3.list_objects_v2(Bucket="dev-logs")["KeyCount"] == 0


@pytest.mark.parametrize(
    ("disposable", "protected"),
    [
        pytest.param(False, True, id="as in the other profiles"),
        pytest.param(False, False, id="protection removed by hand"),
        pytest.param(True, True, id="protection added by hand"),
    ],
)
def test_an_environment_that_keeps_its_data_is_unchanged(
    account: Account, *, disposable: bool, protected: bool
) -> None:
    account.deploy(disposable=disposable, protected=protected)

    with pytest.raises(NotDisposable, match=r"dev keeps its data.*disposable=true"):
        account.empty()

    assert account.objects() == 6
    assert [account.statements(bucket) for bucket in BUCKETS] == [[TLS_ONLY], [TLS_ONLY]]


def test_an_object_that_s3_refuses_to_delete_is_named(account: Account) -> None:
    account.deploy()
    refused = {"Key": "results/1", "Code": "AccessDenied", "Message": "Access Denied"}
    account.s3.meta.events.register(
        "after-call.s3.DeleteObjects", lambda parsed, **_: parsed.update(Errors=[refused])
    )

    with pytest.raises(DeletionRefused, match=r"results/1 in dev-results: Access Denied"):
        account.empty()


def test_a_missing_environment_is_no_error(account: Account) -> None:
    account.empty()

    with pytest.raises(ClientError):
        account.s3.head_bucket(Bucket=BUCKETS[0])


def test_an_environment_with_a_rolled_back_creation_is_no_error(account: Account) -> None:
    account.cloudformation.create_stack(
        StackName="taskfleet-dev-state",
        TemplateBody=json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}),
    )

    account.empty()


def test_the_command_uses_the_region_of_the_deployment(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    ireland = Account("eu-west-1")
    ireland.deploy()
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")

    main(["dev"])

    assert ireland.objects() == 0


def test_the_command_prints_why_it_refuses(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.deploy(disposable=False)
    monkeypatch.setenv("AWS_REGION", "us-east-1")

    with pytest.raises(SystemExit) as refused:
        main(["dev"])

    assert "keeps its data" in str(refused.value.code)


def test_a_stack_output_says_whether_the_environment_is_disposable(
    deployments: Mapping[str, Templates],
) -> None:
    outputs = {
        profile: deployment.templates["state"]["Outputs"]["Disposable"]["Value"]
        for profile, deployment in deployments.items()
    }

    assert outputs == {"dev": "true", "standard": "false", "private": "false"}
