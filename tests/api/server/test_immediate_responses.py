"""What the server's main loop answers by itself, without a request thread."""

import io
import json
import socket
from http.client import HTTPResponse
from typing import Any, cast

import pytest

from services.api import security_headers
from services.api.server.immediate_responses import STALL_S, ImmediateResponses
from services.api.server.request_progress import RequestProgress
from tests.clocks import MonotonicClock

MAX_WAITING = 3
CHECK = b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n"


@pytest.fixture
def clock() -> MonotonicClock:
    return MonotonicClock()


@pytest.fixture
def progress(clock: MonotonicClock) -> RequestProgress:
    return RequestProgress(stall_s=STALL_S, monotonic=clock)


@pytest.fixture
def responses(progress: RequestProgress) -> ImmediateResponses:
    return ImmediateResponses(progress, max_waiting=MAX_WAITING)


class _Received:
    """Stands in for the client's socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def parse(response: bytes | None) -> tuple[int, dict[str, str], Any]:
    assert response is not None
    parsed = HTTPResponse(cast("socket.socket", _Received(response)))
    parsed.begin()
    return parsed.status, dict(parsed.getheaders()), json.loads(parsed.read())


@pytest.mark.parametrize(
    "check",
    [
        CHECK,
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\nHost: 10.0.0.1\r\nUser-Agent: ELB-HealthChecker/2.0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: test\r\nAccept:\r\n\r\n",
    ],
)
def test_a_health_check_is_answered(responses: ImmediateResponses, check: bytes) -> None:
    status, headers, body = parse(responses.response_to(check))

    assert (status, body) == (200, {"status": "ok"})
    assert headers["Content-Type"] == "application/json"
    assert headers["Connection"] == "close"
    assert headers.items() >= dict(security_headers.HEADERS).items()
    assert headers["X-Request-Id"]


def test_a_health_check_keeps_the_clients_request_id(responses: ImmediateResponses) -> None:
    check = CHECK.replace(b"\r\n\r\n", b"\r\nx-request-id: check-7 \r\n\r\n")

    assert parse(responses.response_to(check))[1]["X-Request-Id"] == "check-7"


@pytest.mark.parametrize("sent", [b"a.secret", b"a b", b"x" * 129, b""])
def test_an_invalid_request_id_is_replaced(responses: ImmediateResponses, sent: bytes) -> None:
    check = CHECK.replace(b"\r\n\r\n", b"\r\nX-Request-Id: " + sent + b"\r\n\r\n")
    returned = parse(responses.response_to(check))[1]["X-Request-Id"]

    assert len(returned) == 32


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"",
        CHECK[:-1],
        CHECK + CHECK,
        b"GET /tasks HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET /healthz?x HTTP/1.1\r\nHost: test\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nContent-Length: 4\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nName : value\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n folded: value\r\n\r\n",
    ],
)
def test_any_other_request_gets_a_thread(
    responses: ImmediateResponses, request_bytes: bytes
) -> None:
    assert responses.response_to(request_bytes) is None


def test_a_stalled_server_fails_its_health_check(
    responses: ImmediateResponses, progress: RequestProgress, clock: MonotonicClock
) -> None:
    progress.queued()
    clock.advance(STALL_S + 1)
    status, headers, problem = parse(responses.response_to(CHECK))

    assert (status, problem["code"]) == (503, "stalled")
    assert headers["Content-Type"] == "application/problem+json"


def test_requests_are_rejected_while_too_many_wait(
    responses: ImmediateResponses, progress: RequestProgress
) -> None:
    request = b"GET /tasks HTTP/1.1\r\nHost: test\r\n\r\n"
    for _ in range(MAX_WAITING):
        assert responses.response_to(request) is None
        progress.queued()
    status, headers, problem = parse(responses.response_to(request))

    assert (status, problem["code"]) == (503, "overloaded")
    assert int(headers["Retry-After"]) > 0
    assert parse(responses.response_to(CHECK))[0] == 200


def test_requests_are_accepted_again_when_a_thread_takes_a_waiting_one(
    responses: ImmediateResponses, progress: RequestProgress
) -> None:
    for _ in range(MAX_WAITING):
        progress.queued()
    progress.started()

    assert responses.response_to(b"GET /tasks HTTP/1.1\r\n\r\n") is None
