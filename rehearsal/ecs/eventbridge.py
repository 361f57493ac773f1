"""Plays EventBridge Scheduler: runs the task that a schedule names, by the schedule's own role."""

from dataclasses import dataclass

from rehearsal.aws.gate import Gate
from rehearsal.aws.required_permissions import RequiredPermission
from rehearsal.aws_clients import AwsClients
from rehearsal.ecs.credentials import ECS_TASKS
from rehearsal.ecs.definitions import TaskDefinition
from rehearsal.failure import Failed

SCHEDULER = "scheduler.amazonaws.com"


@dataclass(frozen=True, slots=True)
class Schedule:
    expression: str
    role_arn: str
    task_definition_arn: str

    @property
    def role(self) -> str:
        """The name of the role."""
        return self.role_arn.rpartition("/")[2]


def read_schedule(clients: AwsClients) -> Schedule:
    """The one schedule; raises ``Failed`` when there is another number, or it is turned off."""
    found = clients.scheduler.list_schedules()["Schedules"]
    if len(found) != 1:
        raise Failed(f"There is not one schedule, but {len(found)}.")
    schedule = clients.scheduler.get_schedule(Name=found[0]["Name"])
    if schedule["State"] != "ENABLED":
        raise Failed("The schedule is turned off.")
    target = schedule["Target"]
    return Schedule(
        expression=schedule["ScheduleExpression"],
        role_arn=target["RoleArn"],
        task_definition_arn=target["EcsParameters"]["TaskDefinitionArn"],
    )


def permit_start(schedule: Schedule, definition: TaskDefinition, gate: Gate) -> None:
    """Raises ``Failed`` unless the schedule's role may start the task.

    Starting one passes on both of its roles ("Setting up Amazon EventBridge Scheduler", EventBridge
    Scheduler User Guide).
    """
    for call in (
        RequiredPermission("ecs:RunTask", definition.arn),
        RequiredPermission("iam:PassRole", definition.task_role_arn, ECS_TASKS),
        RequiredPermission("iam:PassRole", definition.execution_role_arn, ECS_TASKS),
    ):
        if not gate.permits(schedule.role, call):
            raise Failed(f"The schedule's role may not {call}.")
