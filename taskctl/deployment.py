"""Where the parts of a deployment are: read from its CloudFormation outputs."""

from collections.abc import Sequence
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
    (api_keys,) = _outputs(client, f"taskfleet-{environment}-state", "ApiKeysSecretId")
    (api_url,) = _outputs(client, f"taskfleet-{environment}-api", "Url")
    return Deployment(api_keys_secret_id=api_keys, api_url=api_url)


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
    table, queue, dead_letters, attempts, retention_s = _outputs(
        client,
        f"taskfleet-{environment}-state",
        "TaskTable",
        "TaskQueueUrl",
        "DeadLetterQueueUrl",
        "AttemptLimit",
        "RowRetentionS",
    )
    return TaskResources(
        task_table=table,
        task_queue_url=queue,
        dead_letter_queue_url=dead_letters,
        attempt_limit=int(attempts),
        row_retention_s=int(retention_s),
    )


def _outputs(client: "CloudFormationClient", stack: str, *names: str) -> Sequence[str]:
    """The values of these outputs; raises ``OperatorError`` when one is not there."""
    with explained(f"The outputs of the stack {stack} cannot be read"):
        outputs = client.describe_stacks(StackName=stack)["Stacks"][0].get("Outputs", [])
    values = {output["OutputKey"]: output["OutputValue"] for output in outputs}
    for name in names:
        if name not in values:
            raise OperatorError(
                f"The stack {stack} has no output {name}: is it deployed completely?"
            )
    return [values[name] for name in names]
