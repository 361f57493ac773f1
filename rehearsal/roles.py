"""The roles that our containers and the schedule take on, by what they are for."""

from collections.abc import Mapping
from dataclasses import dataclass

from rehearsal.aws.policies import Policy
from rehearsal.ecs.credentials import ECS_TASKS
from rehearsal.ecs.eventbridge import SCHEDULER, read_schedule
from rehearsal.proof_context import ProofContext


@dataclass(frozen=True, slots=True)
class DeployedRole:
    """`taken_on_by` is the service of AWS that takes it on."""

    name: str
    arn: str
    taken_on_by: str
    policy: Policy


def deployed_roles(context: ProofContext) -> Mapping[str, DeployedRole]:
    """``api``, ``worker``, ``reconciler`` and ``schedule``."""
    policies = context.deployment.policies()
    schedule = read_schedule(context.clients)
    arns = {
        "api": _task_role(context, context.api.task_definition_arn),
        "worker": _task_role(context, context.worker.task_definition_arn),
        "reconciler": _task_role(context, schedule.task_definition_arn),
        "schedule": schedule.role_arn,
    }
    return {
        part: DeployedRole(
            name=(name := arn.rpartition("/")[2]),
            arn=arn,
            taken_on_by=SCHEDULER if part == "schedule" else ECS_TASKS,
            policy=policies[name],
        )
        for part, arn in arns.items()
    }


def _task_role(context: ProofContext, task_definition_arn: str) -> str:
    return context.player.definition(task_definition_arn).task_role_arn
