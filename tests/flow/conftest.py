"""Fixtures of the flow suite. Its deployments live for the whole session."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from local.embedded_aws import EmbeddedAws
from testbed.endpoints import Endpoints
from testbed.engines.engines import Engines
from testbed.fleet import WorkerProcess
from tests.flow.deployments import LoopbackAws, new_fleet, run_system
from tests.flow.source import FlowSource
from tests.flow.system import DeployedSystem


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run all tests of this folder in one process of pytest-xdist, so that they share fixtures."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("flow"))


@pytest.fixture(
    scope="session", params=["moto", pytest.param("engines", marks=pytest.mark.engines)]
)
def aws(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LoopbackAws]:
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # one line per AWS call is too much
    if request.param == "moto":
        with EmbeddedAws() as moto:
            yield LoopbackAws(30, Endpoints.all_at(moto.endpoint_url))
    else:
        with Engines(tmp_path_factory.mktemp("engines")) as engines:
            yield LoopbackAws(1_000, engines.endpoints)


@pytest.fixture(scope="session")
def source() -> Iterator[FlowSource]:
    with FlowSource() as source:
        yield source


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """The certificate authority that the workers trust."""
    return trustme.CA()


@pytest.fixture(scope="session")
def system(
    aws: LoopbackAws,
    source: FlowSource,
    authority: trustme.CA,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DeployedSystem]:
    """An API and a worker, with a short timeout for fetches and one trusted authority."""
    folder = tmp_path_factory.mktemp("system")
    trusted = folder / "authority.pem"
    authority.cert_pem.write_to_path(trusted)
    with run_system(
        aws,
        source,
        folder,
        prefix="system",
        FETCH_TIMEOUT_S="2",
        SOURCE_FAILURE_LIMIT="2",
        SSL_CERT_FILE=str(trusted),
    ) as system:
        system.fleet.start_worker().wait_until_polling()
        yield system


@pytest.fixture(scope="session")
def api_only_session(
    aws: LoopbackAws, source: FlowSource, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DeployedSystem]:
    folder = tmp_path_factory.mktemp("api-only")
    with run_system(aws, source, folder, prefix="api-only", SOURCE_FAILURE_LIMIT="50") as system:
        yield system


@pytest.fixture
def api_only(api_only_session: DeployedSystem) -> Iterator[DeployedSystem]:
    """An API without a worker. Each test starts its own workers and empties the queue."""
    yield api_only_session
    api_only_session.fleet.kill_workers()
    assert api_only_session.message_count() == 0


@pytest.fixture(scope="session", autouse=True)
def frozen_worker(
    aws: LoopbackAws, source: FlowSource, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerProcess]:
    """A healthy worker that is frozen at the start of the session.

    It becomes unhealthy only after half a minute, during which the other tests run.
    """
    folder = tmp_path_factory.mktemp("frozen")
    with new_fleet(aws, source, folder, prefix="frozen", RECEIVE_WAIT_S="0") as fleet:
        worker = fleet.start_worker()
        worker.wait_until_polling()
        assert worker.is_healthy()
        worker.freeze()
        yield worker
