"""Each task's own role, through the endpoint that the SDKs ask for container credentials.

ECS's is http://169.254.170.2; here ``AWS_CONTAINER_CREDENTIALS_FULL_URI`` names one on loopback,
which the SDKs allow ("Container credential provider", AWS SDKs and Tools Reference Guide).
"""

import secrets
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from local.ports import HOST
from rehearsal.aws.gate import Gate
from rehearsal.aws_clients import AwsClients
from rehearsal.failure import Failed

if TYPE_CHECKING:
    from types_boto3_sts.type_defs import CredentialsTypeDef

ECS_TASKS = "ecs-tasks.amazonaws.com"


def assume_role(
    clients: AwsClients, gate: Gate, *, role_arn: str, service: str
) -> "CredentialsTypeDef":
    """Temporary credentials of a role that trusts `service`; raises ``Failed`` if it does not."""
    role = role_arn.rpartition("/")[2]
    trust: Any = clients.iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    trusted = {
        statement["Principal"].get("Service")
        for statement in trust["Statement"]
        if statement["Effect"] == "Allow" and statement["Action"] == "sts:AssumeRole"
    }
    if service not in trusted:
        raise Failed(f"The role {role} does not let {service} take it on.")
    session = f"rehearsal-{secrets.token_hex(4)}"
    credentials = clients.sts.assume_role(RoleArn=role_arn, RoleSessionName=session)["Credentials"]
    gate.hand_out(credentials["AccessKeyId"], role=role)
    return credentials


class CredentialsEndpoint:
    """Runs inside an ``async with``."""

    def __init__(self, clients: AwsClients, gate: Gate) -> None:
        self._clients = clients
        self._gate = gate
        self._answers: dict[str, Mapping[str, str]] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        runner = web.ServerRunner(web.Server(self._answer, access_log=None), shutdown_timeout=1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, HOST, 0).start()
        self._port = runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def uri_for(self, role_arn: str) -> str:
        """A URI of one task, which nobody else can guess."""
        credentials = assume_role(self._clients, self._gate, role_arn=role_arn, service=ECS_TASKS)
        path = f"/credentials/{secrets.token_urlsafe()}"
        self._answers[path] = {
            "RoleArn": role_arn,
            "AccessKeyId": credentials["AccessKeyId"],
            "SecretAccessKey": credentials["SecretAccessKey"],
            "Token": credentials["SessionToken"],
            "Expiration": credentials["Expiration"].isoformat(),
        }
        return f"http://{HOST}:{self._port}{path}"

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path not in self._answers:
            return web.Response(status=404)
        return web.json_response(self._answers[request.path])
