"""The API under gunicorn on a loopback port, for tests that need a real server and sockets."""

import json
import secrets
from collections.abc import Iterator

import boto3
import pytest

from local import aws_resources
from local.embedded_aws import EmbeddedAws
from services.common.api_key import Scope
from tests.api.conftest import ALICE, KEYS, URL, key_entry
from tests.api.server.gunicorn_process import Gunicorn, gunicorn

THREADS = 4
SETTINGS = {
    "API_PROCESSES": "1",
    "API_THREADS": str(THREADS),
    "API_TRANSFER_TIMEOUT_S": "1",
    "API_KEYS_REFRESH_S": "1",
}
BODY = json.dumps({"inputImageUrl": URL}).encode()
ALL_KEYS = {
    **KEYS,
    "carol-1": key_entry("carol", secret="carols-secret", scopes={Scope.SUBMIT}),
}


def head(*headers: str, line: str = "POST /tasks HTTP/1.1") -> bytes:
    """The request line and headers of a request, with `headers` added to the usual ones."""
    usual = ("Host: test", f"Authorization: Bearer {ALICE}", "Content-Type: application/json")
    return "\r\n".join((line, *usual, *headers, "", "")).encode()


class ServerResources:
    """The resources of one server. A prefix keeps them apart: a process has one embedded AWS."""

    def __init__(self, session: boto3.Session, endpoint_url: str) -> None:
        self.endpoint_url = endpoint_url
        self.dynamodb = session.client("dynamodb", endpoint_url=endpoint_url)
        self.secretsmanager = session.client("secretsmanager", endpoint_url=endpoint_url)
        self.resources = aws_resources.create(
            dynamodb=self.dynamodb,
            sqs=session.client("sqs", endpoint_url=endpoint_url),
            s3=session.client("s3", endpoint_url=endpoint_url),
            secretsmanager=self.secretsmanager,
            prefix=f"server-{secrets.token_hex(4)}",
        )
        self.set_keys(ALL_KEYS)

    def set_keys(self, keys: object) -> None:
        self.secretsmanager.put_secret_value(
            SecretId=self.resources.api_keys_secret_id, SecretString=json.dumps(keys)
        )

    def rows(self) -> int:
        return self.dynamodb.scan(TableName=self.resources.task_table)["Count"]


@pytest.fixture(scope="module")
def deployment(session: boto3.Session) -> Iterator[ServerResources]:
    with EmbeddedAws() as aws:
        yield ServerResources(session, aws.endpoint_url)


@pytest.fixture(scope="module")
def server(deployment: ServerResources) -> Iterator[Gunicorn]:
    environment = {**deployment.resources.environment(), **SETTINGS}
    with gunicorn(deployment.endpoint_url, environment) as running:
        yield running
