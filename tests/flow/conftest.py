"""Deployments whose processes are real: shared where a test needs only their service."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from local.embedded_aws import EmbeddedAws
from testbed.endpoints import Endpoints, LoopbackClients
from testbed.engines.engines import Engines
from testbed.fleet import Fleet, WorkerProcess, provision
from tests.flow.flow import Flow
from tests.flow.logs import leaks
from tests.flow.source import Source

LEASE_S = 2
FIRST_CHECK = timedelta(seconds=1)
SETTINGS = {
    "LEASE_S": str(LEASE_S),
    "HEARTBEAT_INTERVAL_S": "0.5",
    "RETRY_BACKOFF_BASE_S": "1",
    "RETRY_BACKOFF_CAP_S": "1",
    "IMAGING_PROCESSES": "1",
    "FIRST_CHECK_S": str(FIRST_CHECK.seconds),
    "UNSENT_CHECK_S": str(FIRST_CHECK.seconds),
}
"""Everything happens as in production, only sooner."""


@dataclass(frozen=True)
class Engine:
    """An AWS to run on, and how many waiting messages it can be asked to bear."""

    backlog: int
    endpoints: Endpoints
    clients: LoopbackClients = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "clients", LoopbackClients(self.endpoints))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The deployments are started once, so all of these run in one process of pytest-xdist."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("flow"))


@pytest.fixture(
    scope="session", params=["moto", pytest.param("engines", marks=pytest.mark.engines)]
)
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # no line for each call to AWS
    if request.param == "moto":
        with EmbeddedAws() as aws:
            yield Engine(30, Endpoints.all_at(aws.endpoint_url))
    else:
        with Engines(tmp_path_factory.mktemp("engines")) as engines:
            yield Engine(1_000, engines.endpoints)


@pytest.fixture(scope="session")
def source() -> Iterator[Source]:
    with Source() as source:
        yield source


@contextmanager
def flowing(
    engine: Engine,
    source: Source,
    folder: Path,
    *,
    prefix: str,
    api_endpoints: Endpoints | None = None,
    **settings: str,
) -> Iterator[Flow]:
    """A deployment with an API; on leaving, nothing of it runs, and its logs were discreet."""
    deployment = provision(engine.clients, prefix=prefix, lease_s=LEASE_S)
    fleet = Fleet(
        deployment,
        engine.endpoints,
        settings={**SETTINGS, **settings},
        source_port=source.port,
        folder=folder,
    )
    with fleet:
        fleet.start_api(endpoints=api_endpoints)
        fleet.wait_until_ready()
        yield Flow(fleet, engine.clients)
    assert leaks(fleet) == []


@pytest.fixture(scope="session")
def steady(
    engine: Engine, source: Source, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Flow]:
    """API and worker as they should be, in a hurry with slow sources."""
    folder = tmp_path_factory.mktemp("steady")
    with flowing(
        engine, source, folder, prefix="steady", FETCH_TIMEOUT_S="2", ATTEMPT_LIMIT="2"
    ) as flow:
        flow.fleet.start_worker().wait_until_polling()
        yield flow


@pytest.fixture(scope="session")
def bare_session(
    engine: Engine, source: Source, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Flow]:
    folder = tmp_path_factory.mktemp("bare")
    with flowing(engine, source, folder, prefix="bare", ATTEMPT_LIMIT="50") as flow:
        yield flow


@pytest.fixture
def bare(bare_session: Flow) -> Iterator[Flow]:
    """API without a worker: each test starts its own, and leaves none and no message behind."""
    yield bare_session
    bare_session.fleet.kill_workers()
    assert bare_session.messages() == 0


@pytest.fixture(scope="session", autouse=True)
def standing_still(
    engine: Engine, source: Source, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerProcess]:
    """A worker that was frozen at the beginning, when it was healthy."""
    fleet = Fleet(
        provision(engine.clients, prefix="frozen", lease_s=LEASE_S),
        engine.endpoints,
        settings={**SETTINGS, "RECEIVE_WAIT_S": "0"},
        source_port=source.port,
        folder=tmp_path_factory.mktemp("frozen"),
    )
    with fleet:
        worker = fleet.start_worker()
        worker.wait_until_polling()
        assert worker.is_healthy()
        worker.freeze()
        yield worker
