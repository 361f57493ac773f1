"""What the services did beside what they may: nothing was refused, nothing is allowed in vain."""

import asyncio
from collections.abc import Mapping, Sequence

from rehearsal.aws.policies import AllowedAction
from rehearsal.failure import Failed
from rehearsal.proof_context import ProofContext
from rehearsal.roles import DeployedRole

LOOK_EVERY_S = 0.5


async def watch(context: ProofContext, roles: Mapping[str, DeployedRole]) -> None:
    """Until cancelled; raises ``Failed`` as soon as a service is refused what it wants to do."""
    while True:
        for part, role in roles.items():
            if denied := context.gate.denied(role.name):
                raise Failed(f"The {part} may not {next(iter(denied))}, and tries to.")
        await asyncio.sleep(LOOK_EVERY_S)


def compare(context: ProofContext, roles: Mapping[str, DeployedRole]) -> None:
    """Print a table for each role; what was allowed and never used is a finding."""
    for part, role in roles.items():
        done = context.gate.allowed(role.name)
        uses = {
            grant: sum(times for call, times in done.items() if grant.covers(call))
            for grant in sorted(role.policy.allowed, key=str)
        }
        context.report.list(f"The {part} may, and did:", _table(uses))
        for grant, times in uses.items():
            if not times:
                context.report.figures.unusedPermissions += 1
                context.report.find(f"The {part} may {grant}, and never did.")
    context.report.say("")


def _table(uses: Mapping[AllowedAction, int]) -> Sequence[str]:
    return [f"{times or 'never':>6} x {grant}" for grant, times in uses.items()]
