"""Deployments for the flow suite, on an AWS on loopback, with short leases and intervals."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from testbed.endpoints import Endpoints, LoopbackClients
from testbed.fleet import Fleet, provision
from tests.flow.logs import leaks
from tests.flow.source import FlowSource
from tests.flow.system import DeployedSystem

LEASE_S = 2
FIRST_CHECK = timedelta(seconds=1)
SETTINGS = {
    "LEASE_S": str(LEASE_S),
    "HEARTBEAT_INTERVAL_S": "0.5",
    "RETRY_BACKOFF_BASE_S": "1",
    "RETRY_BACKOFF_CAP_S": "1",
    "WORKER_VCPUS": "1",
    "FIRST_CHECK_S": str(FIRST_CHECK.seconds),
    "QUEUE_COUNT_LAG_S": "1",
}
"""Shorter times than in production. Everything else has its default."""


@dataclass(frozen=True)
class LoopbackAws:
    """moto or the engines. `max_backlog` is the number of messages that it can hold quickly."""

    max_backlog: int
    endpoints: Endpoints
    clients: LoopbackClients = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "clients", LoopbackClients(self.endpoints))


def new_fleet(
    aws: LoopbackAws, source: FlowSource, folder: Path, *, prefix: str, **settings: str
) -> Fleet:
    """A fleet with new resources, whose names start with `prefix`."""
    return Fleet(
        provision(aws.clients, prefix=prefix, lease_s=LEASE_S),
        aws.endpoints,
        settings={**SETTINGS, **settings},
        source_port=source.port,
        folder=folder,
    )


@contextmanager
def run_system(
    aws: LoopbackAws,
    source: FlowSource,
    folder: Path,
    *,
    prefix: str,
    api_endpoints: Endpoints | None = None,
    **settings: str,
) -> Iterator[DeployedSystem]:
    """Run a deployment with an API. Afterwards its logs must contain no secrets."""
    with new_fleet(aws, source, folder, prefix=prefix, **settings) as fleet:
        fleet.start_api(endpoints=api_endpoints)
        fleet.wait_until_ready()
        yield DeployedSystem(fleet, aws.clients)
    assert leaks(fleet) == []
