"""Checks the permissions of the task execution role, which ECS uses to start a container.

Source: "Amazon ECS task execution IAM role", Amazon ECS Developer Guide.
"""

from collections.abc import Iterator

from local.embedded_aws import REGION
from rehearsal.aws.authorizer import Authorizer
from rehearsal.aws.emulator import ACCOUNT
from rehearsal.aws.required_permissions import ANY_RESOURCE, RequiredPermission
from rehearsal.ecs.definitions import TaskDefinition
from rehearsal.failure import RehearsalFailed


def authorize_start(definition: TaskDefinition, authorizer: Authorizer) -> None:
    """Raises ``RehearsalFailed`` unless the role may pull the image and write the logs."""
    for permission in _required_permissions(definition):
        if not authorizer.authorize(definition.execution_role, permission):
            raise RehearsalFailed(
                f"ECS cannot start {definition.family}: its execution role lacks {permission}."
            )


def _required_permissions(definition: TaskDefinition) -> Iterator[RequiredPermission]:
    repository = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{definition.repository}"
    # moto's ARN of a log group. The one of AWS ends with `:*`, for the log streams.
    log_group = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{definition.log_group}"
    yield RequiredPermission("ecr:GetAuthorizationToken", ANY_RESOURCE)
    for action in ("BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer"):
        yield RequiredPermission(f"ecr:{action}", repository)
    for action in ("CreateLogStream", "PutLogEvents"):
        yield RequiredPermission(f"logs:{action}", log_group)
