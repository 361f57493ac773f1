"""The curl command that ``taskctl keys create`` prints works, whatever the scopes of the key."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from itertools import combinations
from typing import Any

import boto3
import pytest
from click.testing import CliRunner

from local import aws_resources
from local.embedded_aws import EmbeddedAws, isolated
from local.ports import HOST
from services.common.api_key import Scope
from taskctl.cli import cli
from testbed.waiting import wait_until
from tests.api.server.gunicorn_process import gunicorn

pytestmark = [
    pytest.mark.xdist_group("keys example"),  # one API serves all tests
    pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl"),
]

SCOPES = [scopes for count in range(1, len(Scope) + 1) for scopes in combinations(Scope, count)]


@dataclass(frozen=True)
class RunningApi:
    """`environment` is that of an operator, with the endpoint and the secret of this API."""

    url: str
    environment: Mapping[str, str]

    def create_key(self, *arguments: str) -> str:
        """Run ``taskctl keys create`` and return the printed command."""
        command = ["keys", "create", "--client", "alice", *arguments]
        result = CliRunner().invoke(cli, command, env=self.environment)
        (line,) = [line for line in result.stdout.splitlines() if line.startswith("  curl")]
        return line


@pytest.fixture(scope="module")
def api(session: boto3.Session) -> Iterator[RunningApi]:
    with EmbeddedAws() as aws:
        resources = aws_resources.create(
            dynamodb=session.client("dynamodb", endpoint_url=aws.endpoint_url),
            sqs=session.client("sqs", endpoint_url=aws.endpoint_url),
            s3=session.client("s3", endpoint_url=aws.endpoint_url),
            secretsmanager=session.client("secretsmanager", endpoint_url=aws.endpoint_url),
            prefix="keys-example",
        )
        settings = {"API_PROCESSES": "1", "API_KEYS_REFRESH_S": "1"}
        with gunicorn(aws.endpoint_url, {**resources.environment(), **settings}) as server:
            operator = isolated(os.environ, endpoint_url=aws.endpoint_url)
            yield RunningApi(
                f"http://{HOST}:{server.port}",
                {**operator, "API_KEYS_SECRET_ID": resources.api_keys_secret_id},
            )


def run(command: str, **variables: str) -> Mapping[str, Any]:
    """Run the command until the API knows the key, and return the JSON body of the response."""

    def body() -> Mapping[str, Any] | None:
        output = subprocess.run(
            ["/bin/sh", "-c", command],
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        response: Mapping[str, Any] = json.loads(output)
        return None if response.get("status") == HTTPStatus.UNAUTHORIZED else response

    return wait_until(body, "the API accepts the key")


@pytest.mark.parametrize("scopes", SCOPES, ids=" ".join)
def test_the_example_of_a_new_key_succeeds(api: RunningApi, scopes: tuple[Scope, ...]) -> None:
    options = [option for scope in scopes for option in ("--scope", scope)]

    body = run(api.create_key("--api-url", api.url, *options))

    assert ("taskId" if Scope.SUBMIT in scopes else "operations") in body


def test_without_a_url_the_example_uses_the_environment_variable(api: RunningApi) -> None:
    command = api.create_key()

    assert "$TASKFLEET_URL" in command
    assert "taskId" in run(command, TASKFLEET_URL=api.url)
