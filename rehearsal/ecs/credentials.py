"""Serves each task the temporary credentials of its role, as ECS does at http://169.254.170.2.

``AWS_CONTAINER_CREDENTIALS_FULL_URI`` names an endpoint on loopback instead, which the SDKs allow
("Container credential provider", AWS SDKs and Tools Reference Guide).
"""

import secrets
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from local.ports import HOST
from rehearsal.aws.authorizer import Authorizer
from rehearsal.aws_clients import AwsClients
from rehearsal.failure import RehearsalFailed

if TYPE_CHECKING:
    from types_boto3_sts.type_defs import CredentialsTypeDef

ECS_TASKS = "ecs-tasks.amazonaws.com"


def assume_role(
    clients: AwsClients, authorizer: Authorizer, *, role_arn: str, service_principal: str
) -> "CredentialsTypeDef":
    """Assume a role in the name of an AWS service and return temporary credentials.

    Raises ``RehearsalFailed`` unless the role's trust policy names the service.
    """
    role = role_arn.rpartition("/")[2]
    trust_policy: Any = clients.iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    trusted = {
        statement["Principal"].get("Service")
        for statement in trust_policy["Statement"]
        if statement["Effect"] == "Allow" and statement["Action"] == "sts:AssumeRole"
    }
    if service_principal not in trusted:
        raise RehearsalFailed(f"The role {role} does not trust {service_principal}.")
    session = f"rehearsal-{secrets.token_hex(4)}"
    credentials = clients.sts.assume_role(RoleArn=role_arn, RoleSessionName=session)["Credentials"]
    authorizer.register_access_key(credentials["AccessKeyId"], role=role)
    return credentials


class CredentialsEndpoint:
    """Runs inside an ``async with``."""

    def __init__(self, clients: AwsClients, authorizer: Authorizer) -> None:
        self._clients = clients
        self._authorizer = authorizer
        self._credentials: dict[str, Mapping[str, str]] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        runner = web.ServerRunner(web.Server(self._respond, access_log=None), shutdown_timeout=1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, HOST, 0).start()
        self._port = runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def create_uri(self, role_arn: str) -> str:
        """Assume a task role and return a secret URI that serves its credentials."""
        credentials = assume_role(
            self._clients, self._authorizer, role_arn=role_arn, service_principal=ECS_TASKS
        )
        path = f"/credentials/{secrets.token_urlsafe()}"
        self._credentials[path] = {
            "RoleArn": role_arn,
            "AccessKeyId": credentials["AccessKeyId"],
            "SecretAccessKey": credentials["SecretAccessKey"],
            "Token": credentials["SessionToken"],
            "Expiration": credentials["Expiration"].isoformat(),
        }
        return f"http://{HOST}:{self._port}{path}"

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path not in self._credentials:
            return web.Response(status=404)
        return web.json_response(self._credentials[request.path])
