"""Roles that GitHub's workflows assume, without stored keys."""

from collections.abc import Sequence
from typing import Any

from aws_cdk import CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk.aws_iam import (
    OidcProviderNative,
    PolicyStatement,
    Role,
    WebIdentityPrincipal,
)
from constructs import Construct

from cdk.settings import Settings

ISSUER = "token.actions.githubusercontent.com"

DEPLOY_ROLES = ("deploy", "file-publishing", "image-publishing", "lookup")
"""Roles of the CDK bootstrap that a deployment uses."""
COMPARE_ROLES = ("lookup",)
"""Roles of the CDK bootstrap that ``make diff`` uses: read-only, but allowed to read data."""


class DeliveryStack(Stack):
    """Attributes: `deploy_role` and `compare_role`.

    Workflows in the GitHub environment with this deployment's name may assume `deploy_role`. Pull
    requests may assume `compare_role`.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, **stack: Any
    ) -> None:
        super().__init__(scope, construct_id, **stack)
        self._settings = settings
        self._provider_arn = settings.oidc_provider_arn or self._provider()
        repository = f"repo:{settings.github_repository}"
        self.deploy_role = self._role(
            "Deploy",
            description="Deploys this environment from the GitHub environment of the same name",
            subject=f"{repository}:environment:{settings.environment}",
            bootstrap_roles=DEPLOY_ROLES,
        )
        self.compare_role = self._role(
            "Compare",
            description="Compares a pull request with what is deployed; read-only",
            subject=f"{repository}:pull_request",
            bootstrap_roles=COMPARE_ROLES,
        )

    def _provider(self) -> str:
        return OidcProviderNative(
            self,
            "GitHub",
            url=f"https://{ISSUER}",
            client_ids=["sts.amazonaws.com"],
            # Other deployments in the account may use it.
            removal_policy=RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
        ).oidc_provider_arn

    def _role(
        self, name: str, *, description: str, subject: str, bootstrap_roles: Sequence[str]
    ) -> Role:
        role = Role(
            self,
            name,
            description=description,
            assumed_by=WebIdentityPrincipal(
                self._provider_arn,
                {
                    "StringEquals": {
                        f"{ISSUER}:aud": "sts.amazonaws.com",
                        f"{ISSUER}:sub": subject,
                    }
                },
            ),
            max_session_duration=Duration.hours(1),
        )
        role.add_to_policy(
            PolicyStatement(
                actions=["sts:AssumeRole"],
                resources=[self._bootstrap_role_arn(part) for part in bootstrap_roles],
            )
        )
        CfnOutput(self, f"{name}RoleArn", value=role.role_arn)
        return role

    def _bootstrap_role_arn(self, part: str) -> str:
        name = f"cdk-{self._settings.bootstrap_qualifier}-{part}-role-{self.account}-{self.region}"
        return self.format_arn(service="iam", region="", resource="role", resource_name=name)
