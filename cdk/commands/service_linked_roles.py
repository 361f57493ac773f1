"""Create the service-linked roles that a first deployment in an account needs.

``python -m cdk.commands.service_linked_roles``

AWS creates them at the first use of a service, but not always in time for the deployment that uses
it, which then fails with "Unable to assume the service linked role".

Source: "Using service-linked roles for Amazon ECS", Amazon ECS Developer Guide.
"""

from typing import TYPE_CHECKING

import boto3

if TYPE_CHECKING:
    from types_boto3_iam import IAMClient

SERVICES = (
    "ecs.amazonaws.com",
    "elasticloadbalancing.amazonaws.com",
    "ecs.application-autoscaling.amazonaws.com",
)


def create_roles(iam: "IAMClient") -> list[str]:
    """Create the roles that the account lacks. Returns their services."""
    created = []
    for service in SERVICES:
        try:
            iam.create_service_linked_role(AWSServiceName=service)
        except iam.exceptions.InvalidInputException:  # the role exists
            continue
        created.append(service)
    return created


if __name__ == "__main__":
    for service in create_roles(boto3.client("iam")):
        print(f"Created the service-linked role of {service}.")
