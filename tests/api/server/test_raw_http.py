"""Raw HTTP on real sockets: chunked and truncated bodies, malformed requests, keep-alive, logs."""

import json
import socket

import pytest

from services.api import security_headers
from tests.api.conftest import ALICE
from tests.api.server.conftest import BODY, SETTINGS, ServerResources, head
from tests.api.server.gunicorn_process import Gunicorn, gunicorn, read_response


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def test_a_chunked_body_is_accepted(server: Gunicorn) -> None:
    chunks = chunk(BODY[:10]) + chunk(BODY[10:]) + chunk(b"")
    status, _, task = server.raw(head("Transfer-Encoding: chunked") + chunks)

    assert (status, task["status"]) == (201, "PENDING")


def test_a_chunked_body_has_the_same_size_limit(
    server: Gunicorn, deployment: ServerResources
) -> None:
    rows = deployment.rows()
    block = b" " * 50_000
    with server.sending(head("Transfer-Encoding: chunked")) as connection:
        for _ in range(21):
            connection.sendall(chunk(block))
        status, _, problem = read_response(connection)

    assert (status, problem["code"]) == (413, "body_too_large")
    assert deployment.rows() == rows


def test_a_client_that_is_still_sending_reads_the_rejection(server: Gunicorn) -> None:
    status, _, problem = server.request(
        "POST", "/tasks", key=ALICE, body={"inputImageUrl": "x" * 10_000_000}
    )

    assert (status, problem["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    "start_of_request",
    [
        pytest.param(head(f"Content-Length: {len(BODY) + 1}") + BODY, id="content length"),
        pytest.param(head("Transfer-Encoding: chunked") + chunk(BODY), id="chunked"),
    ],
)
def test_a_truncated_body_is_rejected(
    server: Gunicorn, deployment: ServerResources, start_of_request: bytes
) -> None:
    rows = deployment.rows()
    with server.sending(start_of_request) as connection:
        connection.shutdown(socket.SHUT_WR)
        status, _, problem = read_response(connection)

    assert (status, problem["code"]) == (400, "bad_request")
    assert deployment.rows() == rows


MALFORMED = {
    "not HTTP": (b"\x16\x03\x01\x02\x00\r\n\r\n", 400, "malformed_request"),
    "a space before the colon": (
        b"GET / HTTP/1.1\r\nAuthorization : Bearer alice-1.alices-secret\r\n\r\n",
        400,
        "malformed_request",
    ),
    "two lengths": (
        head("Content-Length: 4", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        400,
        "malformed_request",
    ),
    "an unknown transfer coding": (
        head("Transfer-Encoding: zip, chunked"),
        501,
        "transfer_coding_unsupported",
    ),
    "a very long path": (head(line=f"GET /{'x' * 9_000} HTTP/1.1"), 414, "uri_too_long"),
    "a very long header": (head(f"X-Long: {'x' * 20_000}"), 431, "headers_too_large"),
    "very many headers": (head(*["X: y"] * 200), 431, "headers_too_large"),
    "a chunk without a size": (
        head("Transfer-Encoding: chunked") + b"not hexadecimal\r\n",
        400,
        "bad_request",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_http_is_rejected_with_a_problem_document(server: Gunicorn, case: str) -> None:
    data, status, code = MALFORMED[case]
    received, headers, problem = server.raw(data)

    assert received == status
    assert headers["Content-Type"] == "application/problem+json"
    assert headers.items() >= dict(security_headers.HEADERS).items()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["requestId"] == headers["X-Request-Id"]
    assert "alices-secret" not in "".join(server.lines)


def test_a_connection_is_reused_for_the_next_request(server: Gunicorn) -> None:
    request = head(line="GET /operations HTTP/1.1")
    with server.sending(request) as connection:
        assert read_response(connection)[0] == 200
        connection.sendall(request)
        assert read_response(connection)[0] == 200


def test_a_health_check_ends_a_connection_that_other_requests_have_used(server: Gunicorn) -> None:
    with server.sending(head(line="GET /operations HTTP/1.1")) as connection:
        assert read_response(connection)[0] == 200
        connection.sendall(head(line="GET /healthz HTTP/1.1"))
        status, headers, body = read_response(connection)
        assert (status, body, headers["Connection"]) == (200, {"status": "ok"}, "close")
        assert connection.recv(1) == b""


def test_a_health_check_in_an_unusual_form_gets_the_same_response(server: Gunicorn) -> None:
    usual = server.raw(head(line="GET /healthz HTTP/1.1"))
    unusual = server.raw(head("Content-Length: 0", line="GET /healthz?source=me HTTP/1.1"))

    assert (usual[0], usual[2]) == (unusual[0], unusual[2])
    assert usual[1].keys() - {"Date", "Server"} == unusual[1].keys() - {"Date", "Server"}


def test_requests_that_arrive_together_are_answered_in_order(server: Gunicorn) -> None:
    check = head(line="GET /healthz HTTP/1.1")
    with server.sending(head(line="GET /openapi.json HTTP/1.1") + check + check) as connection:
        received = b""
        while received.count(b'{"status":"ok"}') < 2:
            received += connection.recv(65_536)
    assert received.index(b'"openapi"') < received.index(b'{"status":"ok"}')


def test_a_response_announces_that_the_connection_closes(server: Gunicorn) -> None:
    """Otherwise a load balancer sends another client's request on it and gets no response."""
    rejected = head("Content-Length: 2000000") + b" " * 2_000_000
    status, headers, _ = server.raw(rejected)
    assert (status, headers["Connection"]) == (413, "close")


def test_a_connection_is_reused_after_a_small_unread_body(server: Gunicorn) -> None:
    rejected = head(f"Content-Length: {len(BODY)}", line="POST /nowhere HTTP/1.1") + BODY
    with server.sending(rejected) as connection:
        assert read_response(connection)[0] == 404
        connection.sendall(head(line="GET /healthz HTTP/1.1"))
        assert read_response(connection)[0] == 200


def test_a_rejection_is_not_logged_under_the_previous_client(deployment: ServerResources) -> None:
    environment = {**deployment.resources.environment(), **SETTINGS, "API_THREADS": "1"}
    with gunicorn(deployment.endpoint_url, environment) as server:
        assert server.request("GET", "/operations", key=ALICE)[0] == 200
        assert server.raw(b"nonsense\r\n\r\n")[0] == 400

    [rejection] = [json.loads(line) for line in server.lines if "request rejected" in line]
    assert {"client", "key_id"} & rejection.keys() == set()


def test_every_log_line_is_json_without_secrets(server: Gunicorn) -> None:
    server.request("GET", "/tasks/x?token=in-the-query", key=ALICE)
    server.request("GET", "/tasks/x", key="alice-1.a-wrong-secret")
    lines = list(server.lines)

    assert [line for line in lines if not isinstance(json.loads(line), dict)] == []
    for secret in ("alices-secret", "in-the-query", "a-wrong-secret"):
        assert not any(secret in line for line in lines)
