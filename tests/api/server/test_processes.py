"""The API processes under gunicorn: serving, health check, key refresh, limits and shutdown."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from services.api import probe
from testbed.waiting import DEFAULT_TIMEOUT_S, wait_until
from tests.api.conftest import ALICE, KEYS, URL
from tests.api.server.conftest import ALL_KEYS, BODY, SETTINGS, ServerResources, head
from tests.api.server.gunicorn_process import Gunicorn, gunicorn, read_response

CAROL = "carol-1.carols-secret"
"""Key of a client that has submitted nothing yet."""

HEALTH_CHECK_RETRIES = 3
"""As in the container: on a busy machine, one check may time out."""


@pytest.fixture
def own_server(deployment: ServerResources) -> Iterator[Gunicorn]:
    """A server that its test may stop."""
    environment = {**deployment.resources.environment(), **SETTINGS}
    with gunicorn(deployment.endpoint_url, environment) as running:
        yield running


def test_a_task_can_be_submitted_and_read(server: Gunicorn) -> None:
    status, headers, task = server.request("POST", "/tasks", key=ALICE, body={"inputImageUrl": URL})
    assert status == 201

    status, _, seen = server.request("GET", headers["Location"], key=ALICE)
    assert (status, seen["taskId"]) == (200, task["taskId"])


def test_the_server_is_ready(server: Gunicorn) -> None:
    assert server.request("GET", "/readyz")[0] == 200


@pytest.fixture
def health_check() -> Callable[[int], int]:
    """Runs the container's health check against a port and returns its exit code."""

    def check(port: int) -> int:
        command = (sys.executable, "-I", "-S", probe.__file__)
        return subprocess.run(
            command, env={"API_PORT": str(port)}, check=False, timeout=DEFAULT_TIMEOUT_S
        ).returncode

    return check


def test_the_health_check_passes_while_the_server_responds(
    server: Gunicorn, health_check: Callable[[int], int]
) -> None:
    assert any(health_check(server.port) == 0 for _ in range(HEALTH_CHECK_RETRIES))


def test_the_health_check_fails_without_a_server(health_check: Callable[[int], int]) -> None:
    assert health_check(1) == 1  # no server listens on port 1


def test_a_revoked_key_is_rejected_without_a_restart(
    server: Gunicorn, deployment: ServerResources
) -> None:
    deployment.set_keys({"bob-1": KEYS["bob-1"]})
    try:
        wait_for_status(server, 401)
    finally:
        deployment.set_keys(ALL_KEYS)
    wait_for_status(server, 200)


def wait_for_status(server: Gunicorn, status: int) -> None:
    wait_until(
        lambda: server.request("GET", "/operations", key=ALICE)[0] == status,
        f"the key gets status {status}",
    )


def test_processes_share_the_submission_limit_across_restarts(deployment: ServerResources) -> None:
    limit, submissions = 10, 16
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
            for _ in range(submissions):
                status, headers, _ = server.request(
                    "POST", "/tasks", key=CAROL, body={"inputImageUrl": URL}
                )
                accepted += status == 201
                assert status == 201 or (status == 429 and 0 < int(headers["Retry-After"]) <= 60)
            minutes.append(time.time() // 60)

    assert 0 < accepted <= limit * (1 + minutes[-1] - minutes[0])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux pins a process to a core")
def test_each_process_is_pinned_to_its_own_core(
    deployment: ServerResources,
) -> None:
    environment = {**deployment.resources.environment(), **SETTINGS, "API_PROCESSES": "2"}
    with gunicorn(deployment.endpoint_url, environment) as server:
        master = psutil.Process(server.process.pid)

        def pinned_cores() -> list[int] | None:
            affinities = [process.cpu_affinity() for process in master.children()]
            is_pinned = [len(cores) for cores in affinities] == [1, 1]
            return [cores[0] for cores in affinities] if is_pinned else None

        cores = wait_until(pinned_cores, "both processes are pinned")

    available = len(os.sched_getaffinity(0))
    assert len(set(cores)) == min(2, available)


def test_sigterm_lets_a_request_in_flight_finish(own_server: Gunicorn) -> None:
    with own_server.sending(head(f"Content-Length: {len(BODY)}") + BODY[:5]) as connection:
        assert own_server.request("GET", "/healthz")[0] == 200  # so the server has read the first
        own_server.terminate()
        connection.sendall(BODY[5:])
        status, _, task = read_response(connection)

    assert (status, task["status"]) == (201, "PENDING")
    assert own_server.wait() == 0
