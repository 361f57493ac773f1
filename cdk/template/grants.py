"""The permissions of roles, one action on one resource at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cdk.template.templates import Resource, Templates


@dataclass(frozen=True)
class Grant:
    """One allowed action on one resource. `resource` is as in the policy, often a reference."""

    action: str
    resource: Any
    stack: str


def grants(deployment: Templates, role: Resource) -> Iterator[Grant]:
    """Every permission of `role`. Our policies contain no denials."""
    for policy in deployment.all("IAM::Policy", stack=role.stack):
        if {"Ref": role.logical_id} not in policy["Roles"]:
            continue
        for statement in policy["PolicyDocument"]["Statement"]:
            for action in _as_list(statement["Action"]):
                for resource in _as_list(statement["Resource"]):
                    yield Grant(action, resource, role.stack)


def describe(deployment: Templates, grant: Grant) -> tuple[str, str]:
    """The action, and its resource's name with the end of the ARN, such as ``/results/*``."""
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
