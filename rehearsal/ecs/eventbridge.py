"""Reads the deployed schedule, and checks that its role may start the scheduled task."""

from dataclasses import dataclass

from rehearsal.aws.authorizer import Authorizer
from rehearsal.aws.required_permissions import RequiredPermission
from rehearsal.aws_clients import AwsClients
from rehearsal.ecs.credentials import ECS_TASKS
from rehearsal.ecs.definitions import TaskDefinition
from rehearsal.failure import RehearsalFailed

SCHEDULER = "scheduler.amazonaws.com"


@dataclass(frozen=True, slots=True)
class TaskSchedule:
    expression: str
    role_arn: str
    task_definition_arn: str

    @property
    def role(self) -> str:
        """The name of the role."""
        return self.role_arn.rpartition("/")[2]


def read_schedule(clients: AwsClients) -> TaskSchedule:
    """Read the only schedule. Raises ``RehearsalFailed`` unless one exists and is enabled."""
    schedules = clients.scheduler.list_schedules()["Schedules"]
    if len(schedules) != 1:
        raise RehearsalFailed(
            f"The rehearsal supports one schedule, and {len(schedules)} are deployed."
        )
    (found,) = schedules
    schedule = clients.scheduler.get_schedule(Name=found["Name"], GroupName=found["GroupName"])
    if schedule["State"] != "ENABLED":
        raise RehearsalFailed("The schedule is disabled.")
    target = schedule["Target"]
    return TaskSchedule(
        expression=schedule["ScheduleExpression"],
        role_arn=target["RoleArn"],
        task_definition_arn=target["EcsParameters"]["TaskDefinitionArn"],
    )


def authorize_start(
    schedule: TaskSchedule, definition: TaskDefinition, authorizer: Authorizer
) -> None:
    """Raises ``RehearsalFailed`` unless the schedule's role may start the task.

    That includes passing both roles of the task ("Setting up Amazon EventBridge Scheduler",
    EventBridge Scheduler User Guide).
    """
    for permission in (
        RequiredPermission("ecs:RunTask", definition.arn),
        RequiredPermission("iam:PassRole", definition.task_role_arn, ECS_TASKS),
        RequiredPermission("iam:PassRole", definition.execution_role_arn, ECS_TASKS),
    ):
        if not authorizer.authorize(schedule.role, permission):
            raise RehearsalFailed(f"The schedule's role lacks {permission}.")
