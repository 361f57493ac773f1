"""Check that no stack of an environment remains after ``make destroy``.

``python -m cdk.commands.remaining_stacks ENVIRONMENT``

The CDK deletes the stacks that the given settings produce. If a setting is forgotten, a stack may
remain.
"""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import boto3

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient


def remaining_stacks(cloudformation: "CloudFormationClient", *, environment: str) -> Iterator[str]:
    """The names of the environment's stacks, not those of environments with a longer name."""
    ours = re.compile(rf"taskfleet-{re.escape(environment)}-[a-z]+")
    for page in cloudformation.get_paginator("describe_stacks").paginate():
        yield from (
            stack["StackName"] for stack in page["Stacks"] if ours.fullmatch(stack["StackName"])
        )


def main(arguments: Sequence[str]) -> None:
    (environment,) = arguments
    session = boto3.Session(region_name=os.environ.get("AWS_REGION"))
    stacks = sorted(remaining_stacks(session.client("cloudformation"), environment=environment))
    if stacks:
        sys.exit(
            f"These stacks remain: {', '.join(stacks)}. Repeat `make destroy` with the PROFILE, "
            "ENVIRONMENT and SETTINGS of the deployment."
        )


if __name__ == "__main__":
    main(sys.argv[1:])
