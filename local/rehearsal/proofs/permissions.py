"""What the services did beside what they may: nothing was refused, nothing is allowed in vain."""

from collections import Counter
from collections.abc import Mapping, Sequence

from local.rehearsal.aws.calls import Call
from local.rehearsal.aws.policies import Grant
from local.rehearsal.roles import DeployedRole
from local.rehearsal.stage import Stage


def compare(stage: Stage, roles: Mapping[str, DeployedRole]) -> None:
    """Print a table for each role; what was allowed and never used is a finding."""
    for part, role in roles.items():
        done = stage.gate.allowed(role.name)
        uses = {
            grant: sum(times for call, times in done.items() if grant.covers(call))
            for grant in sorted(role.policy.allowed, key=str)
        }
        stage.report.list(f"The {part} may, and did:", _table(uses))
        for grant, times in uses.items():
            if not times:
                stage.report.figures.unusedPermissions += 1
                stage.report.find(f"The {part} may {grant}, and never did.")


def refused(stage: Stage, roles: Mapping[str, DeployedRole]) -> Sequence[str]:
    """What a service wanted and was not allowed, in a sentence each."""
    return [
        f"The {part} may not {call}, and tried {times} times."
        for part, role in roles.items()
        for call, times in sorted(_plain(stage.gate.denied(role.name)).items())
    ]


def _table(uses: Mapping[Grant, int]) -> Sequence[str]:
    return [f"{times or 'never':>6} x {grant}" for grant, times in uses.items()]


def _plain(calls: Counter[Call]) -> Counter[str]:
    return Counter({str(call): times for call, times in calls.items()})
