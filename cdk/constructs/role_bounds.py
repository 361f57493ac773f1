"""The permissions boundary and the path of roles, which many organizations prescribe."""

from aws_cdk.aws_iam import CfnRole
from constructs import IConstruct

from cdk.settings import Settings


def bound_roles(scope: IConstruct, settings: Settings) -> None:
    """Apply both settings to every role in `scope`. Call it after all roles are created."""
    overrides = {
        "PermissionsBoundary": settings.permissions_boundary_arn,
        "Path": settings.role_path,
    }
    given = {name: value for name, value in overrides.items() if value}
    if not given:
        return
    for construct in scope.node.find_all():
        if isinstance(construct, CfnRole):
            for name, value in given.items():
                construct.add_property_override(name, value)
