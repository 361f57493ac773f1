"""The resources of a deployment, read from the outputs of its CloudFormation stacks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskctl.errors import OperatorError, report_aws_errors

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient


@dataclass(frozen=True, slots=True)
class ApiResources:
    """`api_url` is None if the operator named the secret instead of an environment."""

    api_keys_secret_id: str
    api_url: str | None = None


def find_api_resources(client: "CloudFormationClient", *, environment: str) -> ApiResources:
    """Raises ``OperatorError`` if the environment is not deployed."""
    (api_keys,) = _outputs(client, f"taskfleet-{environment}-state", "ApiKeysSecretId")
    (api_url,) = _outputs(client, f"taskfleet-{environment}-api", "Url")
    return ApiResources(api_keys_secret_id=api_keys, api_url=api_url)


@dataclass(frozen=True, slots=True)
class TaskResources:
    """The table, the queues, and how long the API keeps rows.

    The retention is None if the operator named the resources instead of an environment.
    """

    task_table: str
    task_queue_url: str
    dead_letter_queue_url: str
    row_retention_s: int | None = None


def find_task_resources(client: "CloudFormationClient", *, environment: str) -> TaskResources:
    """Raises ``OperatorError`` if the environment is not deployed."""
    table, queue, dead_letters, retention_s = _outputs(
        client,
        f"taskfleet-{environment}-state",
        "TaskTable",
        "TaskQueueUrl",
        "DeadLetterQueueUrl",
        "RowRetentionS",
    )
    return TaskResources(
        task_table=table,
        task_queue_url=queue,
        dead_letter_queue_url=dead_letters,
        row_retention_s=int(retention_s),
    )


def _outputs(client: "CloudFormationClient", stack: str, *names: str) -> Sequence[str]:
    """The values of these outputs. Raises ``OperatorError`` if one is missing."""
    with report_aws_errors(f"Cannot read the outputs of the stack {stack}"):
        outputs = client.describe_stacks(StackName=stack)["Stacks"][0].get("Outputs", [])
    values = {output["OutputKey"]: output["OutputValue"] for output in outputs}
    for name in names:
        if name not in values:
            raise OperatorError(
                f"The stack {stack} has no output {name}. Check that its deployment is complete."
            )
    return [values[name] for name in names]
