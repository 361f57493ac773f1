"""Compares the permissions of each role with the calls it made: none denied, none unused."""

import asyncio
from collections.abc import Mapping, Sequence

from rehearsal.aws.policies import AllowedAction
from rehearsal.failure import RehearsalFailed
from rehearsal.proof_context import ProofContext
from rehearsal.roles import DeployedRole

POLL_INTERVAL_S = 0.5

NEEDED_AFTER_FAILURES: Mapping[tuple[str, str], str] = {
    ("reconciler", "dynamodb:BatchGetItem"): "reads the tasks whose messages seem lost",
    ("schedule", "sqs:SendMessage"): "reports a reconciler that could not be started",
}
"""Permissions, by role and action, for failures that a rehearsal does not cause."""


async def watch(context: ProofContext, roles: Mapping[str, DeployedRole]) -> None:
    """Run until canceled. Raises ``RehearsalFailed`` as soon as a call of a service is denied."""
    while True:
        for purpose, role in roles.items():
            if denied := context.authorizer.denied(role.name):
                raise RehearsalFailed(f"The {purpose} role was denied {next(iter(denied))}.")
        await asyncio.sleep(POLL_INTERVAL_S)


def compare(context: ProofContext, roles: Mapping[str, DeployedRole]) -> None:
    """Report how often each permission was used. An unused permission is a finding."""
    for purpose, role in roles.items():
        calls = context.authorizer.allowed(role.name)
        uses = {
            permission: sum(count for call, count in calls.items() if permission.covers(call))
            for permission in sorted(role.policy.allowed, key=str)
        }
        context.report.write_list(f"Permissions of the {purpose} role, with uses:", _table(uses))
        for permission, count in uses.items():
            reason = NEEDED_AFTER_FAILURES.get((purpose, permission.action))
            if not count and reason:
                context.report.write(f"{permission.action} is not used here: it {reason}.")
            elif not count:
                context.report.figures.unusedPermissions += 1
                context.report.add_finding(f"The {purpose} role never used {permission}.")
    context.report.write("")


def _table(uses: Mapping[AllowedAction, int]) -> Sequence[str]:
    return [f"{count or 'never':>6} x {permission}" for permission, count in uses.items()]
