"""Where a deployment keeps its API keys and answers: read from its CloudFormation outputs."""

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


def _output(client: "CloudFormationClient", stack: str, name: str) -> str:
    with explained(f"The outputs of the stack {stack} cannot be read"):
        outputs = client.describe_stacks(StackName=stack)["Stacks"][0].get("Outputs", [])
    for output in outputs:
        if output["OutputKey"] == name:
            return output["OutputValue"]
    raise OperatorError(f"The stack {stack} has no output {name}: is it deployed completely?")
