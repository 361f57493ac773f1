"""Settings from the environment, and the values that are rejected at start."""

from collections.abc import Callable
from ipaddress import ip_network

import pytest
from pydantic import ValidationError

from services.common.config import WorkerConfig
from services.common.version import PROJECT_PAGE

REQUIRED = {
    "AWS_REGION": "us-east-1",
    "TASK_TABLE": "tasks",
    "TASK_QUEUE_URL": "https://sqs.example/queue",
    "RESULT_BUCKET": "results",
    "DEAD_LETTER_QUEUE_URL": "https://sqs.example/dead-letters",
}


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Callable[..., WorkerConfig]:
    """Reads the required settings plus those that a test adds."""

    def read(**settings: str) -> WorkerConfig:
        for name, value in {**REQUIRED, **settings}.items():
            monkeypatch.setenv(name, value)
        return WorkerConfig()

    return read


def test_lists_are_comma_separated(worker: Callable[..., WorkerConfig]) -> None:
    config = worker(
        FETCH_ALLOWED_PORTS="80, 8443,",
        FETCH_ALLOWED_NETWORKS="127.0.0.0/8,::1/128",
        FETCH_DENIED_NETWORKS="8.8.8.0/24,8.8.4.0/24",
    )
    assert config.fetch_allowed_ports == (80, 8443)
    assert config.fetch_allowed_networks == (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    assert config.fetch_denied_networks == (ip_network("8.8.8.0/24"), ip_network("8.8.4.0/24"))


def test_the_default_is_the_web_ports_and_no_private_network(
    worker: Callable[..., WorkerConfig],
) -> None:
    config = worker()
    assert (config.fetch_allowed_ports, config.fetch_allowed_networks) == ((80, 443), ())


def test_the_contact_for_image_servers_is_the_project_page_or_a_setting(
    worker: Callable[..., WorkerConfig],
) -> None:
    assert worker().fetch_contact == PROJECT_PAGE
    assert worker(FETCH_CONTACT="images@shop.example").fetch_contact == "images@shop.example"


def test_a_lease_that_cannot_survive_a_missed_heartbeat_is_rejected(
    worker: Callable[..., WorkerConfig],
) -> None:
    assert worker(LEASE_S="40", HEARTBEAT_INTERVAL_S="20").lease_s == 40
    with pytest.raises(ValidationError, match="LEASE_S must be at least twice HEARTBEAT_INTERVAL"):
        worker(LEASE_S="39", HEARTBEAT_INTERVAL_S="20")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEASE_S", "0"),
        ("WORKER_CONCURRENCY", "-1"),
        ("RECEIVE_WAIT_S", "21"),
        ("FETCH_ALLOWED_PORTS", "http"),
        ("FETCH_ALLOWED_NETWORKS", "10.0.0.1/8"),
        ("FETCH_CONTACT", "Jane (ops)"),
        ("FETCH_CONTACT", "https://a.example\nX-Header: x"),
        ("FETCH_CONTACT", ""),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_an_invalid_setting_is_named(
    worker: Callable[..., WorkerConfig], name: str, value: str
) -> None:
    with pytest.raises(ValidationError) as rejected:
        worker(**{name: value})
    assert {error["loc"][0] for error in rejected.value.errors()} == {name.lower()}
