"""Which stacks of an environment are left: ``python -m cdk.commands.remaining_stacks ENVIRONMENT``.

The CDK deletes the stacks that the settings lead to, and so not one that only a forgotten setting
would have led to.
"""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import boto3

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient


def left_stacks(cloudformation: "CloudFormationClient", *, environment: str) -> Iterator[str]:
    """Their names; not those of an environment whose name only begins alike."""
    ours = re.compile(rf"taskfleet-{re.escape(environment)}-[a-z]+")
    for page in cloudformation.get_paginator("describe_stacks").paginate():
        yield from (
            stack["StackName"] for stack in page["Stacks"] if ours.fullmatch(stack["StackName"])
        )


def main(arguments: Sequence[str]) -> None:
    (environment,) = arguments
    session = boto3.Session(region_name=os.environ.get("AWS_REGION"))
    left = sorted(left_stacks(session.client("cloudformation"), environment=environment))
    if left:
        sys.exit(
            f"{', '.join(left)}: still there. Repeat `make destroy` with the PROFILE, ENVIRONMENT "
            "and SETTINGS that the environment was deployed with."
        )


if __name__ == "__main__":
    main(sys.argv[1:])
