"""Policy evaluation: which calls a role's policies allow."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from rehearsal.aws.policies import Policy, read_policy
from rehearsal.aws.required_permissions import RequiredPermission
from rehearsal.failure import RehearsalFailed

if TYPE_CHECKING:
    from types_boto3_iam import IAMClient

ROLE = "worker"
PASSED = "arn:aws:iam::123456789012:role/task"
TABLE = "arn:aws:dynamodb:us-east-1:123456789012:table/tasks"


@pytest.fixture
def iam(session: boto3.Session) -> Iterator["IAMClient"]:
    with mock_aws():
        client = session.client("iam")
        client.create_role(RoleName=ROLE, AssumeRolePolicyDocument="{}")
        yield client


def policy_with(iam: "IAMClient", *statements: dict[str, Any]) -> Policy:
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    iam.put_role_policy(RoleName=ROLE, PolicyName="one", PolicyDocument=json.dumps(document))
    return read_policy(iam, ROLE)


def statement(action: str | list[str], resource: str | list[str], **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def test_a_statement_allows_its_actions_on_its_resources_only(iam: "IAMClient") -> None:
    policy = policy_with(iam, statement(["dynamodb:GetItem", "dynamodb:PutItem"], TABLE))

    assert policy.allows(RequiredPermission("dynamodb:PutItem", TABLE))
    assert not policy.allows(RequiredPermission("dynamodb:Scan", TABLE))
    assert not policy.allows(RequiredPermission("dynamodb:GetItem", f"{TABLE}2"))
    assert not policy.allows(RequiredPermission("dynamodb:GetItem", "*"))


def test_a_role_without_a_policy_may_do_nothing(iam: "IAMClient") -> None:
    assert not read_policy(iam, ROLE).allows(RequiredPermission("sqs:SendMessage", "*"))


def test_a_wildcard_matches_any_characters(iam: "IAMClient") -> None:
    policy = policy_with(iam, statement("s3:PutObject", "arn:aws:s3:::b/results/*"))

    assert policy.allows(RequiredPermission("s3:PutObject", "arn:aws:s3:::b/results/a/1.jpg"))
    assert not policy.allows(RequiredPermission("s3:PutObject", "arn:aws:s3:::b/uploads/a"))


def test_an_explicit_deny_overrides_an_allow(iam: "IAMClient") -> None:
    policy = policy_with(
        iam, statement("sqs:*", "*"), statement("sqs:SendMessage", "*", Effect="Deny")
    )

    assert policy.allows(RequiredPermission("sqs:ReceiveMessage", "arn:aws:sqs:us-east-1:1:q"))
    assert not policy.allows(RequiredPermission("sqs:SendMessage", "arn:aws:sqs:us-east-1:1:q"))


def test_a_role_may_be_passed_only_to_the_service_in_the_condition(iam: "IAMClient") -> None:
    condition = {"StringLike": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    policy = policy_with(iam, statement("iam:PassRole", PASSED, Condition=condition))

    assert policy.allows(RequiredPermission("iam:PassRole", PASSED, "ecs-tasks.amazonaws.com"))
    assert not policy.allows(RequiredPermission("iam:PassRole", PASSED, "ec2.amazonaws.com"))


def test_a_policy_with_an_unsupported_condition_is_rejected(iam: "IAMClient") -> None:
    condition = {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}

    with pytest.raises(RehearsalFailed, match="SourceIp"):
        policy_with(iam, statement("sqs:SendMessage", "*", Condition=condition))


def test_an_attached_policy_is_rejected(iam: "IAMClient") -> None:
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement("s3:*", "*")]})
    arn = iam.create_policy(PolicyName="wide", PolicyDocument=document)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=ROLE, PolicyArn=arn)

    with pytest.raises(RehearsalFailed, match="wide"):
        read_policy(iam, ROLE)
