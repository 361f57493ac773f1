"""Refuse a deployment that changes what cannot change on a running environment.

``python -m cdk.commands.check_changes ASSEMBLY ENVIRONMENT``
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import boto3

from cdk.changes import refused_changes
from cdk.commands.state_stack import deployed_outputs, synthesized_output

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient

OUTPUT = "FixedSettings"


def check_changes(
    cloudformation: "CloudFormationClient", *, assembly: Path, environment: str
) -> list[str]:
    """One sentence for each change that is not possible."""
    deployed = deployed_outputs(cloudformation, environment=environment)
    old = json.loads(deployed.get(OUTPUT, "{}"))
    new = json.loads(synthesized_output(assembly, OUTPUT, environment=environment))
    return list(refused_changes(old, new))


def main(arguments: Sequence[str]) -> None:
    assembly, environment = arguments
    session = boto3.Session(region_name=os.environ.get("AWS_REGION"))
    refused = check_changes(
        session.client("cloudformation"), assembly=Path(assembly), environment=environment
    )
    if refused:
        sys.exit(" ".join([*refused, "Deploy another ENVIRONMENT with the new settings instead."]))


if __name__ == "__main__":
    main(sys.argv[1:])
