"""The authorizer: which calls it forwards, denies and counts."""

import io
import json
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pytest

from rehearsal.aws.authorizer import Authorizer
from rehearsal.aws.policies import AllowedAction, Policy
from rehearsal.aws.required_permissions import RequiredPermission

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

ACCOUNT = "123456789012"
QUEUE = "arn:aws:sqs:us-east-1:123456789012:tasks"
RECEIVE = RequiredPermission("sqs:ReceiveMessage", QUEUE)
SEND = RequiredPermission("sqs:SendMessage", QUEUE)


def echo(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """Return the body of the request."""
    start_response("200 OK", [])
    length = int(environ.get("CONTENT_LENGTH") or 0)
    return [environ["wsgi.input"].read(length)]


@pytest.fixture
def authorizer() -> Authorizer:
    authorizer = Authorizer(echo, account=ACCOUNT)
    authorizer.register_access_key("ASIAWORKER", role="worker")
    policy = Policy(frozenset({AllowedAction(RECEIVE.action, QUEUE)}), frozenset())
    authorizer.enforce({"worker": policy})
    return authorizer


def call(
    authorizer: Authorizer, operation: str, *, key: str = "ASIAWORKER", service: str = "sqs"
) -> tuple[str, bytes]:
    """Call an operation. Returns the status line and the body."""
    body = json.dumps({"QueueUrl": f"https://sqs/{ACCOUNT}/tasks"}).encode()
    statuses: list[str] = []

    def start_response(status: str, _headers: object, _error: object = None) -> Any:
        statuses.append(status)

    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_AUTHORIZATION": f"Credential={key}/20261124/us-east-1/{service}/aws4_request, x",
        "HTTP_X_AMZ_TARGET": f"AmazonSQS.{operation}",
        "wsgi.input": io.BytesIO(body),
    }
    chunks = authorizer(environ, start_response)
    return statuses[0], b"".join(chunks)


def test_an_allowed_call_is_forwarded_unchanged_and_counted(authorizer: Authorizer) -> None:
    status, body = call(authorizer, "ReceiveMessage")

    assert status == "200 OK"
    assert json.loads(body) == {"QueueUrl": f"https://sqs/{ACCOUNT}/tasks"}
    assert authorizer.allowed("worker") == Counter({RECEIVE: 1})
    assert not authorizer.denied("worker")


def test_any_other_call_is_denied_and_counted(authorizer: Authorizer) -> None:
    status, body = call(authorizer, "SendMessage")

    assert status == "403 Forbidden"
    assert json.loads(body)["__type"] == "AccessDeniedException"
    assert authorizer.denied("worker") == Counter({SEND: 1})
    assert not authorizer.has_used("worker", SEND.action)


def test_a_role_without_a_policy_is_denied_every_call(authorizer: Authorizer) -> None:
    authorizer.enforce({})

    assert call(authorizer, "ReceiveMessage")[0] == "403 Forbidden"


def test_the_operator_may_do_everything_and_is_not_counted(authorizer: Authorizer) -> None:
    assert call(authorizer, "SendMessage", key="local")[0] == "200 OK"
    assert not authorizer.allowed("worker")


def test_an_outage_affects_one_action_of_one_role_until_it_ends(authorizer: Authorizer) -> None:
    with authorizer.outage(role="worker", action=RECEIVE.action):
        assert call(authorizer, "ReceiveMessage")[0] == "503 Service Unavailable"
        assert call(authorizer, "ReceiveMessage", key="local")[0] == "200 OK"

    assert call(authorizer, "ReceiveMessage")[0] == "200 OK"
    assert not authorizer.denied("worker")


def test_a_call_that_aws_makes_in_the_name_of_a_role_is_authorized_and_counted(
    authorizer: Authorizer,
) -> None:
    assert authorizer.authorize("worker", RECEIVE)
    assert not authorizer.authorize("worker", SEND)

    assert authorizer.has_used("worker", RECEIVE.action)
    assert authorizer.denied("worker") == Counter({SEND: 1})
