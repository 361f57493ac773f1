"""What roles allow, one action on one resource at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cdk.template.templates import Resource, Templates


@dataclass(frozen=True)
class Grant:
    """One action on one resource, as written in a policy."""

    action: str
    resource: Any
    stack: str


def grants(deployment: Templates, role: Resource) -> Iterator[Grant]:
    """Everything that `role` is allowed; our policies deny nothing."""
    for policy in deployment.all("IAM::Policy", stack=role.stack):
        if {"Ref": role.logical_id} not in policy["Roles"]:
            continue
        for statement in policy["PolicyDocument"]["Statement"]:
            for action in _as_list(statement["Action"]):
                for resource in _as_list(statement["Resource"]):
                    yield Grant(action, resource, role.stack)


def described(deployment: Templates, grant: Grant) -> tuple[str, str]:
    """The grant in words: the action, and the resource's name with what follows its ARN."""
    match grant.resource:
        case {"Fn::Join": ["", [arn, str(suffix)]]}:
            target = deployment.target(arn, stack=grant.stack)
        case str(literal):
            return grant.action, literal
        case arn:
            target, suffix = deployment.target(arn, stack=grant.stack), ""
    return grant.action, deployment.name_of(target) + suffix


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
