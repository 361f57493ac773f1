"""The gate before AWS: what it lets through, refuses and writes down."""

import io
import json
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pytest

from rehearsal.aws.gate import Gate
from rehearsal.aws.policies import AllowedAction, Policy
from rehearsal.aws.required_permissions import RequiredPermission

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

ACCOUNT = "123456789012"
QUEUE = "arn:aws:sqs:us-east-1:123456789012:tasks"
RECEIVE = RequiredPermission("sqs:ReceiveMessage", QUEUE)
SEND = RequiredPermission("sqs:SendMessage", QUEUE)


def aws(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """Answers with the body of the request."""
    start_response("200 OK", [])
    length = int(environ.get("CONTENT_LENGTH") or 0)
    return [environ["wsgi.input"].read(length)]


@pytest.fixture
def gate() -> Gate:
    gate = Gate(aws, account=ACCOUNT)
    gate.hand_out("ASIAWORKER", role="worker")
    gate.judge({"worker": Policy(frozenset({AllowedAction(RECEIVE.action, QUEUE)}), frozenset())})
    return gate


def ask(
    gate: Gate, operation: str, *, key: str = "ASIAWORKER", service: str = "sqs"
) -> tuple[str, bytes]:
    """The status line and the body."""
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
    chunks = gate(environ, start_response)
    return statuses[0], b"".join(chunks)


def test_what_a_role_may_do_goes_through_untouched(gate: Gate) -> None:
    status, body = ask(gate, "ReceiveMessage")

    assert status == "200 OK"
    assert json.loads(body) == {"QueueUrl": f"https://sqs/{ACCOUNT}/tasks"}
    assert gate.allowed("worker") == Counter({RECEIVE: 1})
    assert not gate.denied("worker")


def test_what_a_role_may_not_do_is_refused_and_written_down(gate: Gate) -> None:
    status, body = ask(gate, "SendMessage")

    assert status == "403 Forbidden"
    assert json.loads(body)["__type"] == "AccessDeniedException"
    assert gate.denied("worker") == Counter({SEND: 1})
    assert not gate.has_done("worker", SEND.action)


def test_a_role_without_a_policy_is_refused_everything(gate: Gate) -> None:
    gate.judge({})

    assert ask(gate, "ReceiveMessage")[0] == "403 Forbidden"


def test_the_operator_may_do_everything_and_is_not_written_down(gate: Gate) -> None:
    assert ask(gate, "SendMessage", key="local")[0] == "200 OK"
    assert not gate.allowed("worker")


def test_an_outage_is_of_one_action_of_one_role_and_ends(gate: Gate) -> None:
    with gate.outage(role="worker", action=RECEIVE.action):
        assert ask(gate, "ReceiveMessage")[0] == "503 Service Unavailable"
        assert ask(gate, "ReceiveMessage", key="local")[0] == "200 OK"

    assert ask(gate, "ReceiveMessage")[0] == "200 OK"
    assert not gate.denied("worker")


def test_a_call_that_aws_makes_in_a_roles_name_is_judged_and_written_down(gate: Gate) -> None:
    assert gate.permits("worker", RECEIVE)
    assert not gate.permits("worker", SEND)

    assert gate.has_done("worker", RECEIVE.action)
    assert gate.denied("worker") == Counter({SEND: 1})
