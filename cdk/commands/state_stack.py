"""Reads the outputs of an environment's state stack, deployed and synthesized."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient


def stack_name(environment: str) -> str:
    return f"taskfleet-{environment}-state"


def deployed_outputs(
    cloudformation: "CloudFormationClient", *, environment: str
) -> Mapping[str, str]:
    """The outputs, or none if the stack does not exist or its creation failed."""
    try:
        (stack,) = cloudformation.describe_stacks(StackName=stack_name(environment))["Stacks"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError":  # the stack does not exist
            return {}
        raise
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def synthesized_output(assembly: Path, name: str, *, environment: str) -> str:
    """An output with a literal value in the templates of `assembly`."""
    template = json.loads((assembly / f"{stack_name(environment)}.template.json").read_text())
    return str(template["Outputs"][name]["Value"])
