"""What ECS does itself to start a container, in the name of the task's execution role.

Source: "Amazon ECS task execution IAM role", Amazon ECS Developer Guide.
"""

from collections.abc import Iterator

from local.embedded_aws import REGION
from rehearsal.aws.emulator import ACCOUNT
from rehearsal.aws.gate import Gate
from rehearsal.aws.required_permissions import ANY, RequiredPermission
from rehearsal.ecs.definitions import TaskDefinition
from rehearsal.failure import Failed


def permit_start(definition: TaskDefinition, gate: Gate) -> None:
    """Raises ``Failed`` unless the execution role lets ECS pull the image and deliver the logs."""
    for call in _calls(definition):
        if not gate.permits(definition.execution_role, call):
            raise Failed(f"ECS cannot start {definition.family}: its execution role may not {call}")


def _calls(definition: TaskDefinition) -> Iterator[RequiredPermission]:
    repository = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{definition.repository}"
    # moto's ARN of a log group; AWS's ends with `:*`, for its streams.
    log_group = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{definition.log_group}"
    yield RequiredPermission("ecr:GetAuthorizationToken", ANY)
    for action in ("BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer"):
        yield RequiredPermission(f"ecr:{action}", repository)
    for action in ("CreateLogStream", "PutLogEvents"):
        yield RequiredPermission(f"logs:{action}", log_group)
