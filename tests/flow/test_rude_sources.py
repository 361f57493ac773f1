"""Sources that refuse or drip: no task fails that could succeed, and other tasks do not wait."""

import threading
import time
from collections.abc import Iterator
from socket import socket

import pytest

from tests.flow.deployments import LoopbackAws, run_system
from tests.flow.source import FlowSource, png
from tests.flow.system import DeployedSystem
from tests.worker.fetching.loopback_source import ok, response_head

IMAGE = ok(png())
TASKS = 15


class RateLimitedResponder:
    """Answers `limit` requests in each window of `window_s` seconds, and 429 to the others."""

    def __init__(self, *, limit: int, window_s: float) -> None:
        self._limit = limit
        self._window_s = window_s
        self._lock = threading.Lock()
        self._answered_at: list[float] = []
        self.requests = 0

    def __call__(self, connection: socket) -> None:
        connection.sendall(IMAGE if self._admit() else response_head(429, "Content-Length: 0"))

    def _admit(self) -> bool:
        now = time.monotonic()
        with self._lock:
            self.requests += 1
            recent = [at for at in self._answered_at if now - at < self._window_s]
            if len(recent) >= self._limit:
                return False
            self._answered_at.append(now)
            return True


class RefusingOnce:
    """Refuses the first request for `wait_s` seconds, and notes when the others arrive."""

    def __init__(self, *, wait_s: int) -> None:
        self._refusal = response_head(429, f"Retry-After: {wait_s}", "Content-Length: 0")
        self.arrivals: list[float] = []
        self.refused = threading.Event()

    def __call__(self, connection: socket) -> None:
        self.arrivals.append(time.monotonic())
        connection.sendall(IMAGE if self.refused.is_set() else self._refusal)
        self.refused.set()


class DrippingResponder:
    """Sends a byte now and then until the client hangs up."""

    def __init__(self) -> None:
        self.requests = 0

    def __call__(self, connection: socket) -> None:
        self.requests += 1
        connection.sendall(response_head(200, "Content-Length: 100000"))
        while True:
            connection.sendall(b"x")
            time.sleep(0.1)


@pytest.fixture(scope="module")
def deployment(
    aws: LoopbackAws, source: FlowSource, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DeployedSystem]:
    """A deployment of its own, because some tasks of these tests stay open for minutes."""
    folder = tmp_path_factory.mktemp("rude-sources")
    with run_system(aws, source, folder, prefix="rude-sources") as system:
        yield system


@pytest.fixture
def idle_system(deployment: DeployedSystem) -> Iterator[DeployedSystem]:
    """Without a worker. Each test starts its own."""
    yield deployment
    deployment.fleet.kill_workers()


@pytest.fixture
def other_source(source: FlowSource) -> Iterator[FlowSource]:
    """Another host, at the same port because workers may use no other."""
    with FlowSource(host="127.0.0.2", port=source.port) as other:
        yield other


def test_a_rate_limited_source_fails_no_task(
    idle_system: DeployedSystem, other_source: FlowSource
) -> None:
    limited = RateLimitedResponder(limit=5, window_s=4)
    tasks = [idle_system.submit(other_source.url(limited)) for _ in range(TASKS)]
    idle_system.fleet.start_worker(SOURCE_FAILURE_LIMIT="8")
    final = [idle_system.wait_until_final(task_id) for task_id in tasks]
    assert {task["status"] for task in final} == {"COMPLETED"}
    assert limited.requests < 2 * TASKS


def test_retry_after_holds_for_all_tasks_of_the_host(
    idle_system: DeployedSystem, other_source: FlowSource
) -> None:
    refusing = RefusingOnce(wait_s=5)
    tasks = [idle_system.submit(other_source.url(refusing))]
    idle_system.fleet.start_worker()
    assert refusing.refused.wait(60)
    tasks += [idle_system.submit(other_source.url(refusing)) for _ in range(5)]
    final = [idle_system.wait_until_final(task_id) for task_id in tasks]
    assert {task["status"] for task in final} == {"COMPLETED"}
    first, *others = refusing.arrivals
    assert min(others) - first >= 5


def test_a_dripping_source_does_not_delay_the_tasks_of_others(
    idle_system: DeployedSystem, source: FlowSource, other_source: FlowSource
) -> None:
    dripping = DrippingResponder()
    rude = [idle_system.submit(other_source.url(dripping)) for _ in range(12)]
    polite = [idle_system.submit(source.url(IMAGE)) for _ in range(3)]
    idle_system.fleet.start_worker(
        WORKER_CONCURRENCY="4",
        FETCH_TIMEOUT_S="6",
        RETRY_BACKOFF_BASE_S="30",
        RETRY_BACKOFF_CAP_S="30",
    )
    final = [idle_system.wait_until_final(task_id) for task_id in polite]
    drips = dripping.requests
    assert {task["status"] for task in final} == {"COMPLETED"}
    assert drips < len(rude)  # without a limit, each holds a slot before the first of the others
