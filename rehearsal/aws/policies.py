"""What a role's identity policies allow, as IAM evaluates them.

Source: "Policy evaluation logic", IAM User Guide. Resource policies and boundaries play no part in
our roles; a condition other than that on the service which a role is passed to is refused rather
than guessed at.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from rehearsal.aws.required_permissions import RequiredPermission
from rehearsal.failure import Failed

if TYPE_CHECKING:
    from types_boto3_iam import IAMClient


@dataclass(frozen=True, slots=True, order=True)
class AllowedAction:
    """One action on one resource, either with wildcards."""

    action: str
    resource: str
    passed_to: str | None = None
    """Only for a role that is passed to this service."""

    def covers(self, call: RequiredPermission) -> bool:
        return (
            fnmatchcase(call.action.lower(), self.action.lower())
            and fnmatchcase(call.resource, self.resource)
            and self.passed_to in {None, call.passed_to}
        )

    def __str__(self) -> str:
        return f"{self.action} on {self.resource}"


@dataclass(frozen=True, slots=True)
class Policy:
    """All policies of one role as one."""

    allowed: frozenset[AllowedAction]
    denied: frozenset[AllowedAction]

    def allows(self, call: RequiredPermission) -> bool:
        return any(grant.covers(call) for grant in self.allowed) and not any(
            grant.covers(call) for grant in self.denied
        )


def read_policy(iam: "IAMClient", role: str) -> Policy:
    """The policies of the deployed `role`; raises ``Failed`` where they cannot be judged."""
    allowed: set[AllowedAction] = set()
    denied: set[AllowedAction] = set()
    for statement in _statements(iam, role):
        grants = {
            AllowedAction(action, resource, _passed_to(statement, role))
            for action in _listed(statement["Action"])
            for resource in _listed(statement["Resource"])
        }
        (allowed if statement["Effect"] == "Allow" else denied).update(grants)
    return Policy(frozenset(allowed), frozenset(denied))


def _statements(iam: "IAMClient", role: str) -> Iterator[Mapping[str, Any]]:
    for attached in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        raise Failed(f"The role {role} has {attached['PolicyName']} attached, which is not judged.")
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        document: Any = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        for statement in _listed(document["Statement"]):
            if unknown := statement.keys() - {"Sid", "Effect", "Action", "Resource", "Condition"}:
                names = ", ".join(sorted(unknown))
                raise Failed(f"A policy of {role} has {names}, which is not judged.")
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
            raise Failed(f"A policy of {role} has a condition that is not judged: {condition}.")


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]
