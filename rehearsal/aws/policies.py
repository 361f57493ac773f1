"""Evaluates the identity policies of a role as IAM does.

Source: "Policy evaluation logic", IAM User Guide. Our roles have neither resource policies nor
permissions boundaries. The only condition that is supported is ``iam:PassedToService``; policies
with any other condition are rejected.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from rehearsal.aws.required_permissions import RequiredPermission
from rehearsal.failure import RehearsalFailed

if TYPE_CHECKING:
    from types_boto3_iam import IAMClient


@dataclass(frozen=True, slots=True, order=True)
class AllowedAction:
    """An action on a resource; both may contain wildcards.

    `passed_to` restricts ``iam:PassRole`` to one service.
    """

    action: str
    resource: str
    passed_to: str | None = None

    def covers(self, permission: RequiredPermission) -> bool:
        return (
            fnmatchcase(permission.action.lower(), self.action.lower())
            and fnmatchcase(permission.resource, self.resource)
            and self.passed_to in {None, permission.passed_to}
        )

    def __str__(self) -> str:
        return f"{self.action} on {self.resource}"


@dataclass(frozen=True, slots=True)
class Policy:
    """All policies of a role, merged."""

    allowed: frozenset[AllowedAction]
    denied: frozenset[AllowedAction]

    def allows(self, permission: RequiredPermission) -> bool:
        return any(each.covers(permission) for each in self.allowed) and not any(
            each.covers(permission) for each in self.denied
        )


def read_policy(iam: "IAMClient", role: str) -> Policy:
    """Read the policies of a deployed role. Raises ``RehearsalFailed`` if one is not supported."""
    allowed: set[AllowedAction] = set()
    denied: set[AllowedAction] = set()
    for statement in _statements(iam, role):
        actions = {
            AllowedAction(action, resource, _passed_to(statement, role))
            for action in _as_list(statement["Action"])
            for resource in _as_list(statement["Resource"])
        }
        (allowed if statement["Effect"] == "Allow" else denied).update(actions)
    return Policy(frozenset(allowed), frozenset(denied))


def _statements(iam: "IAMClient", role: str) -> Iterator[Mapping[str, Any]]:
    for attached in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        raise RehearsalFailed(
            f"The attached policy {attached['PolicyName']} of the role {role} is not supported."
        )
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        document: Any = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        for statement in _as_list(document["Statement"]):
            if unknown := statement.keys() - {"Sid", "Effect", "Action", "Resource", "Condition"}:
                elements = ", ".join(sorted(unknown))
                raise RehearsalFailed(
                    f"The policy {name} of the role {role} contains {elements}, which is not "
                    "supported."
                )
            yield statement


def _passed_to(statement: Mapping[str, Any], role: str) -> str | None:
    match statement.get("Condition"):
        case None:
            return None
        case {"StringEquals": {"iam:PassedToService": str(service)}} | {
            "StringLike": {"iam:PassedToService": str(service)}
        }:
            return service
        case condition:
            raise RehearsalFailed(
                f"A policy of the role {role} has a condition that is not supported: {condition}."
            )


def _as_list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]
