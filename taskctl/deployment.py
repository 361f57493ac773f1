"""Where the parts of a deployment are: read from its CloudFormation outputs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskctl.errors import OperatorError, explained

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient


@dataclass(frozen=True, slots=True)
class Deployment:
    """`api_url` is None where nobody said it."""

    api_keys_secret_id: str
    api_url: str | None = None


def find_deployment(client: "CloudFormationClient", *, environment: str) -> Deployment:
    """The deployment that the CDK made with this `environment`; raises ``OperatorError``."""
    return Deployment(
        api_keys_secret_id=_output(client, f"taskfleet-{environment}-state", "ApiKeysSecretId"),
        api_url=_output(client, f"taskfleet-{environment}-api", "Url"),
    )


@dataclass(frozen=True, slots=True)
class TaskResources:
    """The names that the services know them by, and what the API gives a task.

    The latter is None where no deployment says it.
    """

    task_table: str
    task_queue_url: str
    dead_letter_queue_url: str
    attempt_limit: int | None = None
    row_retention_s: int | None = None


def find_task_resources(client: "CloudFormationClient", *, environment: str) -> TaskResources:
    """Those of what the CDK made with this `environment`; raises ``OperatorError``."""
    stack = f"taskfleet-{environment}-state"
    return TaskResources(
        task_table=_output(client, stack, "TaskTable"),
        task_queue_url=_output(client, stack, "TaskQueueUrl"),
        dead_letter_queue_url=_output(client, stack, "DeadLetterQueueUrl"),
        attempt_limit=int(_output(client, stack, "AttemptLimit")),
        row_retention_s=int(_output(client, stack, "RowRetentionS")),
    )


def _output(client: "CloudFormationClient", stack: str, name: str) -> str:
    with explained(f"The outputs of the stack {stack} cannot be read"):
        outputs = client.describe_stacks(StackName=stack)["Stacks"][0].get("Outputs", [])
    for output in outputs:
        if output["OutputKey"] == name:
            return output["OutputValue"]
    raise OperatorError(f"The stack {stack} has no output {name}: is it deployed completely?")
