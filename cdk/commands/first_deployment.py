"""Print whether deletion protection must wait for a first successful deployment, ``yes`` or ``no``.

``python -m cdk.commands.first_deployment ASSEMBLY ENVIRONMENT``

CloudFormation cannot roll back the creation of protected resources, and the stacks that a failed
first deployment leaves could not be deleted.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import boto3

from cdk.commands.state_stack import deployed_outputs, synthesized_output

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient

OUTPUT = "DeletionProtection"
ON = "true"


def is_first_deployment(
    cloudformation: "CloudFormationClient", *, assembly: Path, environment: str
) -> bool:
    """Whether protection is to be turned on and is not on yet."""
    if synthesized_output(assembly, OUTPUT, environment=environment) != ON:
        return False
    return deployed_outputs(cloudformation, environment=environment).get(OUTPUT) != ON


def main(arguments: Sequence[str]) -> None:
    assembly, environment = arguments
    session = boto3.Session(region_name=os.environ.get("AWS_REGION"))
    first = is_first_deployment(
        session.client("cloudformation"), assembly=Path(assembly), environment=environment
    )
    print("yes" if first else "no")


if __name__ == "__main__":
    main(sys.argv[1:])
