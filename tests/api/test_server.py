"""The API under gunicorn, on a loopback port: what only a real server and real sockets show."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import boto3
import psutil
import pytest

from local import schema
from local.embedded_aws import EmbeddedAws, isolated
from local.ports import HOST
from services.api import security_headers
from services.common.api_key import Scope
from tests.api.conftest import ALICE, KEYS, URL, key_entry
from tests.api.gunicorn_process import PATIENCE_S, Gunicorn, answer_on, gunicorn

THREADS = 4
SETTINGS = {
    "API_PROCESSES": "1",
    "API_THREADS": str(THREADS),
    "API_TRANSFER_TIMEOUT_S": "1",
    "API_KEYS_REFRESH_S": "1",
}
BODY = json.dumps({"inputImageUrl": URL}).encode()
CAROL = "carol-1.carols-secret"
"""Of a client who has submitted nothing yet."""
ALL_KEYS = {
    **KEYS,
    "carol-1": key_entry("carol", secret="carols-secret", scopes={Scope.SUBMIT}),
}


def head(*headers: str, line: str = "POST /tasks HTTP/1.1") -> bytes:
    fixed = ("Host: test", f"Authorization: Bearer {ALICE}", "Content-Type: application/json")
    return "\r\n".join((line, *fixed, *headers, "", "")).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Deployment:
    """Our resources in an AWS of its own."""

    def __init__(self, session: boto3.Session, endpoint_url: str) -> None:
        self.endpoint_url = endpoint_url
        self.dynamodb = session.client("dynamodb", endpoint_url=endpoint_url)
        self.secretsmanager = session.client("secretsmanager", endpoint_url=endpoint_url)
        self.resources = schema.create(
            dynamodb=self.dynamodb,
            sqs=session.client("sqs", endpoint_url=endpoint_url),
            s3=session.client("s3", endpoint_url=endpoint_url),
            secretsmanager=self.secretsmanager,
        )
        self.set_keys(ALL_KEYS)

    def set_keys(self, keys: object) -> None:
        self.secretsmanager.put_secret_value(
            SecretId=self.resources.api_keys_secret_id, SecretString=json.dumps(keys)
        )

    def rows(self) -> int:
        return self.dynamodb.scan(TableName=self.resources.task_table)["Count"]


@pytest.fixture(scope="module")
def deployment(session: boto3.Session) -> Iterator[Deployment]:
    with EmbeddedAws() as aws:
        yield Deployment(session, aws.endpoint_url)


@pytest.fixture(scope="module")
def server(deployment: Deployment) -> Iterator[Gunicorn]:
    environment = {**deployment.resources.environment(), **SETTINGS}
    with gunicorn(deployment.endpoint_url, environment) as running:
        yield running


@pytest.fixture
def own_server(deployment: Deployment) -> Iterator[Gunicorn]:
    """For a test that stops it."""
    environment = {**deployment.resources.environment(), **SETTINGS}
    with gunicorn(deployment.endpoint_url, environment) as running:
        yield running


def test_a_task_is_submitted_and_seen(server: Gunicorn) -> None:
    status, headers, task = server.request("POST", "/tasks", key=ALICE, body={"inputImageUrl": URL})
    assert status == 201

    status, _, seen = server.request("GET", headers["Location"], key=ALICE)
    assert (status, seen["taskId"]) == (200, task["taskId"])


def test_everything_that_a_submission_needs_answers(server: Gunicorn) -> None:
    assert server.request("GET", "/readyz")[0] == 200


@pytest.fixture
def health_check(deployment: Deployment) -> Callable[[int], int]:
    """The container's health check of the server on a port; its exit code."""

    def check(port: int) -> int:
        environment = {
            **isolated(os.environ, endpoint_url=deployment.endpoint_url),
            **deployment.resources.environment(),
            "API_PORT": str(port),
        }
        command = (sys.executable, "-m", "services.api.health")
        return subprocess.run(command, env=environment, check=False, timeout=PATIENCE_S).returncode

    return check


def test_a_container_that_serves_is_healthy(
    server: Gunicorn, health_check: Callable[[int], int]
) -> None:
    assert health_check(server.port) == 0


def test_a_container_that_does_not_serve_is_unhealthy(health_check: Callable[[int], int]) -> None:
    assert health_check(1) == 1  # nobody listens there


def test_a_body_in_chunks_is_read(server: Gunicorn) -> None:
    chunks = chunk(BODY[:10]) + chunk(BODY[10:]) + chunk(b"")
    status, _, task = server.raw(head("Transfer-Encoding: chunked") + chunks)

    assert (status, task["status"]) == (201, "PENDING")


def test_a_body_in_chunks_has_the_same_limit(server: Gunicorn, deployment: Deployment) -> None:
    rows = deployment.rows()
    piece = b" " * 50_000
    with server.sending(head("Transfer-Encoding: chunked")) as connection:
        for _ in range(21):
            connection.sendall(chunk(piece))
        status, _, problem = answer_on(connection)

    assert (status, problem["code"]) == (413, "body_too_large")
    assert deployment.rows() == rows


def test_who_still_sends_what_is_refused_gets_to_read_why(server: Gunicorn) -> None:
    status, _, problem = server.request(
        "POST", "/tasks", key=ALICE, body={"inputImageUrl": "x" * 10_000_000}
    )

    assert (status, problem["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    "beginning",
    [
        pytest.param(head(f"Content-Length: {len(BODY) + 1}") + BODY, id="content length"),
        pytest.param(head("Transfer-Encoding: chunked") + chunk(BODY), id="chunked"),
    ],
)
def test_the_first_part_of_a_body_is_not_taken_for_the_whole(
    server: Gunicorn, deployment: Deployment, beginning: bytes
) -> None:
    rows = deployment.rows()
    with server.sending(beginning) as connection:
        connection.shutdown(socket.SHUT_WR)
        status, _, problem = answer_on(connection)

    assert (status, problem["code"]) == (400, "bad_request")
    assert deployment.rows() == rows


NOT_HTTP = {
    "no HTTP at all": (b"\x16\x03\x01\x02\x00\r\n\r\n", 400, "malformed_request"),
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
    "a coding that nobody knows": (
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


@pytest.mark.parametrize("case", NOT_HTTP)
def test_what_is_not_http_is_refused_with_a_problem_too(server: Gunicorn, case: str) -> None:
    data, status, code = NOT_HTTP[case]
    answered, headers, problem = server.raw(data)

    assert answered == status
    assert headers["Content-Type"] == "application/problem+json"
    assert headers.items() >= dict(security_headers.HEADERS).items()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["requestId"] == headers["X-Request-Id"]
    assert "alices-secret" not in "".join(server.lines)


def test_connections_that_send_nothing_cost_nobody_else(server: Gunicorn) -> None:
    with ExitStack() as silent:
        for _ in range(THREADS * 10):
            silent.enter_context(server.connect())

        assert server.request("GET", "/healthz")[0] == 200


@pytest.mark.parametrize(
    ("beginning", "answer"),
    [
        pytest.param(b"GET /healthz HTTP/1.1\r\nX-Slow: ", None, id="headers"),
        pytest.param(head("Content-Length: 900000"), 400, id="body"),
        pytest.param(head("Transfer-Encoding: chunked") + b"10000\r\n", 400, id="chunked body"),
    ],
)
def test_clients_that_drip_are_cut_off_and_others_are_served(
    server: Gunicorn, beginning: bytes, answer: int | None
) -> None:
    with ExitStack() as slow:
        drippers = [slow.enter_context(server.sending(beginning)) for _ in range(THREADS * 2)]
        stop = threading.Event()
        dripping = threading.Thread(target=drip, args=(drippers, stop))
        dripping.start()
        try:
            assert server.request("GET", "/healthz")[0] == 200
            for connection in drippers:
                if answer is None:
                    assert connection.recv(1) == b""
                else:
                    assert answer_on(connection)[0] == answer
        finally:
            stop.set()
            dripping.join()


def drip(connections: list[socket.socket], stop: threading.Event) -> None:
    """A byte to each, again and again, for as long as anyone takes it."""
    while not stop.wait(0.05):
        for connection in connections:
            with suppress(OSError):  # cut off
                connection.sendall(b"x")


def test_clients_that_take_no_response_are_cut_off_and_others_are_served(server: Gunicorn) -> None:
    asked = head(line="GET /openapi.json HTTP/1.1") * 20
    with ExitStack() as slow:
        pourers = [slow.enter_context(with_little_room(server.port)) for _ in range(THREADS * 2)]
        stop = threading.Event()
        pouring = threading.Thread(target=pour, args=(pourers, asked, stop))
        pouring.start()
        try:
            give_up = time.monotonic() + PATIENCE_S
            while not any("not taken in time" in line for line in list(server.lines)):
                assert server.request("GET", "/healthz")[0] == 200
                assert time.monotonic() < give_up
        finally:
            stop.set()
            pouring.join()


def with_little_room(port: int) -> socket.socket:
    """A connection on which not much can be waiting to be read."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    connection.connect((HOST, port))
    return connection


def pour(connections: list[socket.socket], data: bytes, stop: threading.Event) -> None:
    """Ask again and again, for as long as anyone takes it, and read nothing."""
    while not stop.wait(0.01):
        for connection in connections:
            with suppress(OSError):  # cut off, or no room
                connection.send(data, socket.MSG_DONTWAIT)


def test_clients_that_never_close_cost_nobody_else(server: Gunicorn) -> None:
    with ExitStack() as lingering:
        connections = [
            lingering.enter_context(server.sending(b"nonsense\r\n\r\n")) for _ in range(20)
        ]
        for connection in connections:
            assert answer_on(connection)[0] == 400

        assert server.request("GET", "/healthz")[0] == 200


def test_a_connection_is_kept_for_the_next_request(server: Gunicorn) -> None:
    with server.sending(head(line="GET /healthz HTTP/1.1")) as connection:
        assert answer_on(connection)[0] == 200
        connection.sendall(head(line="GET /healthz HTTP/1.1"))
        assert answer_on(connection)[0] == 200


def test_the_end_of_a_connection_is_announced(server: Gunicorn) -> None:
    """Or a load balancer would send the next client's request over it, and get no answer."""
    refused = head("Content-Length: 2000000") + b" " * 2_000_000
    status, headers, _ = server.raw(refused)
    assert (status, headers["Connection"]) == (413, "close")


def test_a_connection_is_kept_after_a_small_body_that_was_not_read(server: Gunicorn) -> None:
    refused = head(f"Content-Length: {len(BODY)}", line="POST /nowhere HTTP/1.1") + BODY
    with server.sending(refused) as connection:
        assert answer_on(connection)[0] == 404
        connection.sendall(head(line="GET /healthz HTTP/1.1"))
        assert answer_on(connection)[0] == 200


def test_what_has_arrived_may_take_longer_than_its_arrival(deployment: Deployment) -> None:
    with socket.create_server((HOST, 0)) as never_answers:
        queue = f"http://{HOST}:{never_answers.getsockname()[1]}"
        environment = {
            **deployment.resources.environment(),
            **SETTINGS,
            "AWS_ENDPOINT_URL_SQS": queue,
            "API_STOP_TIMEOUT_S": "1",
        }
        with (
            gunicorn(deployment.endpoint_url, environment) as server,
            server.sending(head(line="GET /readyz HTTP/1.1")) as connection,
        ):
            status, _, problem = answer_on(connection)  # after the 2 s that a dependency may take
            assert (status, problem["failing"]) == (503, ["queue"])

            connection.settimeout(1)
            with pytest.raises(TimeoutError):  # rather than the end of the connection
                connection.recv(1)


def test_a_revoked_key_is_refused_without_a_restart(
    server: Gunicorn, deployment: Deployment
) -> None:
    deployment.set_keys({"bob-1": KEYS["bob-1"]})
    try:
        wait_for_status(server, 401)
    finally:
        deployment.set_keys(ALL_KEYS)
    wait_for_status(server, 200)


def wait_for_status(server: Gunicorn, status: int) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while (answered := server.request("GET", "/operations", key=ALICE)[0]) != status:
        assert time.monotonic() < give_up, f"still {answered}"


def test_processes_and_their_successors_share_one_limit(deployment: Deployment) -> None:
    limit, tries = 10, 16
    environment = {
        **deployment.resources.environment(),
        **SETTINGS,
        "API_PROCESSES": "2",
        "SUBMISSIONS_PER_MINUTE": str(limit),
    }
    minutes, accepted = [], 0
    for _ in range(2):
        with gunicorn(deployment.endpoint_url, environment) as server:
            minutes.append(time.time() // 60)
            for _ in range(tries):
                status, headers, _ = server.request(
                    "POST", "/tasks", key=CAROL, body={"inputImageUrl": URL}
                )
                accepted += status == 201
                assert status == 201 or (status == 429 and 0 < int(headers["Retry-After"]) <= 60)
            minutes.append(time.time() // 60)

    assert 0 < accepted <= limit * (1 + minutes[-1] - minutes[0])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a process to a core")
def test_each_process_keeps_to_one_core_and_two_share_none_without_need(
    deployment: Deployment,
) -> None:
    environment = {**deployment.resources.environment(), **SETTINGS, "API_PROCESSES": "2"}
    with gunicorn(deployment.endpoint_url, environment) as server:
        master = psutil.Process(server.process.pid)
        give_up = time.monotonic() + PATIENCE_S
        cores: list[list[int]] = []
        while [len(of_one) for of_one in cores] != [1, 1]:
            assert time.monotonic() < give_up, f"still {cores}"
            cores = [process.cpu_affinity() for process in master.children()]

    usable = len(os.sched_getaffinity(0))
    assert len({core for of_one in cores for core in of_one}) == min(2, usable)


def test_a_request_under_way_is_finished_before_the_process_ends(own_server: Gunicorn) -> None:
    with own_server.sending(head(f"Content-Length: {len(BODY)}") + BODY[:5]) as connection:
        assert own_server.request("GET", "/healthz")[0] == 200  # so the other is under way too
        own_server.terminate()
        connection.sendall(BODY[5:])
        status, _, task = answer_on(connection)

    assert (status, task["status"]) == (201, "PENDING")
    assert own_server.wait() == 0


def test_a_refusal_is_not_put_down_to_the_client_served_before(deployment: Deployment) -> None:
    environment = {**deployment.resources.environment(), **SETTINGS, "API_THREADS": "1"}
    with gunicorn(deployment.endpoint_url, environment) as server:
        assert server.request("GET", "/operations", key=ALICE)[0] == 200
        assert server.raw(b"nonsense\r\n\r\n")[0] == 400

    [refusal] = [json.loads(line) for line in server.lines if "request refused" in line]
    assert {"client", "key_id"} & refusal.keys() == set()


def test_every_line_of_the_log_is_json_and_none_holds_a_secret(server: Gunicorn) -> None:
    server.request("GET", "/tasks/x?token=in-the-query", key=ALICE)
    server.request("GET", "/tasks/x", key="alice-1.a-wrong-secret")
    lines = list(server.lines)

    assert [line for line in lines if not isinstance(json.loads(line), dict)] == []
    for secret in ("alices-secret", "in-the-query", "a-wrong-secret"):
        assert not any(secret in line for line in lines)
