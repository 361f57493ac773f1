"""Roles as tests see them: who may take one on, and what it allows where."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.cdk.deployment import Deployment, Resource


@dataclass(frozen=True)
class Grant:
    """One action on one resource, as written in a policy."""

    action: str
    resource: Any
    stack: str


def grants(deployment: Deployment, role: Resource) -> Iterator[Grant]:
    """Everything that `role` is allowed, one action and one resource at a time."""
    for policy in deployment.all("IAM::Policy", stack=role.stack):
        if {"Ref": role.logical_id} not in policy["Roles"]:
            continue
        for statement in policy["PolicyDocument"]["Statement"]:
            assert statement["Effect"] == "Allow"
            for action in _as_list(statement["Action"]):
                for resource in _as_list(statement["Resource"]):
                    yield Grant(action, resource, role.stack)


def trusts(role: Resource) -> set[str]:
    """The services that may take the role on."""
    return {
        statement["Principal"]["Service"]
        for statement in role["AssumeRolePolicyDocument"]["Statement"]
        if "Service" in statement["Principal"]
    }


def described(deployment: Deployment, grant: Grant) -> tuple[str, str]:
    """The grant in words: the action, and the resource's type with what follows its ARN."""
    match grant.resource:
        case {"Fn::Join": ["", [arn, str(suffix)]]}:
            target = deployment.target(arn, stack=grant.stack)
        case str(literal):
            return grant.action, literal
        case arn:
            target, suffix = deployment.target(arn, stack=grant.stack), ""
    return grant.action, _name(deployment, target) + suffix


def _name(deployment: Deployment, resource: Resource) -> str:
    """Tells the two queues apart, and the two buckets; otherwise the type."""
    name = resource.type.removeprefix("AWS::")
    match name:
        case "SQS::Queue":
            return "queue" if resource.get("RedrivePolicy") else "dead letters"
        case "S3::Bucket":
            return "results" if resource.get("LoggingConfiguration") else "access logs"
        case "DynamoDB::Table":
            return "table"
    return name


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
