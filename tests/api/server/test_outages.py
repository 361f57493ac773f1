"""A dependency hangs: it accepts calls and does not answer them. The rest of the API goes on."""

import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest

from services.api.server.gunicorn_worker import WAITING_PER_THREAD
from testbed.outage import HangingService
from testbed.waiting import wait_until
from tests.api.conftest import ALICE, URL
from tests.api.server.conftest import SETTINGS, THREADS, ServerResources
from tests.api.server.gunicorn_process import Gunicorn, gunicorn

REQUEST_LIMIT_S = 25
"""The contract's limit on any request."""
MAX_RATIO = 3
"""The contract's limit on the duration of a request that does not need the hanging service,
relative to the same request on an idle server."""
PAIRS = 25
PAUSE_S = 0.25
"""Between the requests of a client. More load would make Python itself slow, not the outage."""
SERVICES = ("SQS", "DYNAMODB", "SECRETS_MANAGER")


@pytest.fixture
def services(deployment: ServerResources) -> Iterator[dict[str, HangingService]]:
    """A proxy in front of each service."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(HangingService(deployment.endpoint_url)) for name in SERVICES
        }


@pytest.fixture
def start(
    deployment: ServerResources, services: dict[str, HangingService]
) -> Iterator[Callable[[], Gunicorn]]:
    """Starts a server behind the proxies."""
    environment = {
        **deployment.resources.environment(),
        **SETTINGS,
        "API_TRANSFER_TIMEOUT_S": "10",
        **{f"AWS_ENDPOINT_URL_{name}": service.url for name, service in services.items()},
    }
    with ExitStack() as stack:
        yield lambda: stack.enter_context(gunicorn(deployment.endpoint_url, environment))


@dataclass
class Load:
    """What the requests of `clients` threads got, and the longest that one took."""

    statuses: Counter[int] = field(default_factory=Counter)
    longest_s: float = 0.0

    @contextmanager
    def running(self, request: Callable[[], int], *, clients: int) -> Iterator[None]:
        """The threads repeat `request` during this ``with``, and then finish their last one."""
        stop = threading.Event()

        def run() -> None:
            while not stop.wait(PAUSE_S):
                started = time.monotonic()
                self.statuses[request()] += 1
                self.longest_s = max(self.longest_s, time.monotonic() - started)

        with ThreadPoolExecutor(clients) as executor:
            threads = [executor.submit(run) for _ in range(clients)]
            try:
                yield
            finally:
                stop.set()
            for thread in threads:
                thread.result()


def submit(server: Gunicorn) -> int:
    return server.request("POST", "/tasks", key=ALICE, body={"inputImageUrl": URL})[0]


def duration_s(server: Gunicorn, path: str) -> float:
    """How long a request takes that must succeed."""
    started = time.perf_counter()
    assert server.request("GET", path, key=ALICE)[0] == 200
    return time.perf_counter() - started


def ratio(idle: Gunicorn, loaded: Gunicorn, path: str) -> float:
    """How much longer a request takes on `loaded` than on `idle`, by the medians.

    The requests alternate, so that the machine's other work affects both servers.
    """
    pairs = [(duration_s(idle, path), duration_s(loaded, path)) for _ in range(PAIRS)]
    of_idle, of_loaded = zip(*pairs, strict=True)
    return float(statistics.median(of_loaded) / statistics.median(of_idle))


@pytest.mark.parametrize("name", SERVICES)
def test_requests_that_do_not_need_a_hanging_service_stay_as_fast_as_on_an_idle_server(
    start: Callable[[], Gunicorn], services: dict[str, HangingService], name: str
) -> None:
    idle, loaded = start(), start()
    task_path = loaded.request("POST", "/tasks", key=ALICE, body={"inputImageUrl": URL})[1][
        "Location"
    ]
    load = Load()
    with (
        services[name].hanging(),
        load.running(lambda: submit(loaded), clients=3 * THREADS),
    ):
        wait_until(lambda: load.statuses, "the load runs")
        assert ratio(idle, loaded, "/healthz") <= MAX_RATIO
        if name != "DYNAMODB":
            assert ratio(idle, loaded, task_path) <= MAX_RATIO

    accepted = {"SQS": {202, 503}, "DYNAMODB": {503}, "SECRETS_MANAGER": {201, 503}}
    assert load.statuses.keys() <= accepted[name]
    assert load.longest_s < REQUEST_LIMIT_S


def test_submissions_are_recorded_at_once_while_the_queue_hangs_and_queued_when_it_recovers(
    start: Callable[[], Gunicorn], services: dict[str, HangingService]
) -> None:
    server = start()
    load = Load()
    with services["SQS"].hanging():
        with load.running(lambda: submit(server), clients=THREADS):
            wait_until(
                lambda: any("circuit opened" in line for line in list(server.lines)),
                "the circuit opens",
            )
        assert submit(server) == 202
    wait_until(lambda: submit(server) == 201, "a probe closes the circuit")


def test_requests_beyond_the_waiting_room_are_rejected_at_once(
    deployment: ServerResources, services: dict[str, HangingService]
) -> None:
    """The one thread hangs in a read, so that the others wait, up to their number for a thread."""
    environment = {
        **deployment.resources.environment(),
        **SETTINGS,
        "API_THREADS": "1",
        "AWS_ENDPOINT_URL_DYNAMODB": services["DYNAMODB"].url,
    }
    path = "/tasks/6e1f7a4e-0000-4000-8000-000000000001"
    with (
        gunicorn(deployment.endpoint_url, environment) as server,
        services["DYNAMODB"].hanging(),
        ThreadPoolExecutor(2 * WAITING_PER_THREAD) as clients,
    ):
        requests = [
            clients.submit(server.request, "GET", path, key=ALICE)
            for _ in range(2 * WAITING_PER_THREAD)
        ]
        first, *_ = as_completed(requests)
        status, headers, problem = first.result()
        assert (status, problem["code"]) == (503, "overloaded")
        assert headers["Retry-After"]
        assert server.request("GET", "/healthz")[0] == 200


def test_a_server_starts_while_the_secret_hangs(
    start: Callable[[], Gunicorn], services: dict[str, HangingService]
) -> None:
    with services["SECRETS_MANAGER"].hanging():
        server = start()
        assert server.request("GET", "/healthz")[0] == 200
        status, headers, problem = server.request("GET", "/operations", key=ALICE)
        assert (status, problem["code"]) == (503, "secret_unavailable")
        assert headers["Retry-After"]
    wait_until(
        lambda: server.request("GET", "/operations", key=ALICE)[0] == 200, "the keys are read"
    )
