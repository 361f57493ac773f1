"""The deployed roles of the containers and the schedule, by purpose."""

from collections.abc import Mapping
from dataclasses import dataclass

from rehearsal.aws.policies import Policy
from rehearsal.ecs.credentials import ECS_TASKS
from rehearsal.ecs.eventbridge import SCHEDULER, read_schedule
from rehearsal.proof_context import ProofContext


@dataclass(frozen=True, slots=True)
class DeployedRole:
    """`service_principal` is the AWS service that assumes the role."""

    name: str
    arn: str
    service_principal: str
    policy: Policy


def deployed_roles(context: ProofContext) -> Mapping[str, DeployedRole]:
    """The roles ``api``, ``worker``, ``reconciler`` and ``schedule``."""
    policies = context.deployment.policies()
    schedule = read_schedule(context.clients)
    arns = {
        "api": _task_role_arn(context, context.api.task_definition_arn),
        "worker": _task_role_arn(context, context.worker.task_definition_arn),
        "reconciler": _task_role_arn(context, schedule.task_definition_arn),
        "schedule": schedule.role_arn,
    }
    return {
        purpose: DeployedRole(
            name=(name := arn.rpartition("/")[2]),
            arn=arn,
            service_principal=SCHEDULER if purpose == "schedule" else ECS_TASKS,
            policy=policies[name],
        )
        for purpose, arn in arns.items()
    }


def _task_role_arn(context: ProofContext, task_definition_arn: str) -> str:
    return context.control_plane.definition(task_definition_arn).task_role_arn
