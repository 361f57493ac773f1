"""The limits of an attempt: what is built equals what is configured."""

import pytest

from services.common.config import WorkerConfig
from services.worker.policies import attempt_policy, fetch_policy, imaging_limits
from tests.reachable import reachable_values

OF_OTHER_PARTS = {"imaging_processes"}
"""The number of processes is no limit of an attempt."""
SETTINGS = {
    "fetch_allowed_networks": "192.0.2.0/24",
    "fetch_allowed_ports": "8443",
    "fetch_contact": "images@shop.example",
    "fetch_denied_networks": "198.51.100.0/24",
    "fetch_max_redirects": "7",
}
REQUIRED = {
    "aws_region": "us-east-1",
    "task_table": "tasks",
    "task_queue_url": "https://sqs.example/queue",
    "dead_letter_queue_url": "https://sqs.example/dead-letters",
    "result_bucket": "results",
}


def is_limit_of_attempts(name: str) -> bool:
    prefixes = ("fetch_", "imaging_", "processing_", "retry_")
    return (name.startswith(prefixes) or name.endswith("_limit")) and name not in OF_OTHER_PARTS


def test_every_limit_of_an_attempt_has_its_configured_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = sorted(filter(is_limit_of_attempts, WorkerConfig.model_fields))
    distinct = {name: str(1_009 + number) for number, name in enumerate(names)}
    for name, value in {**REQUIRED, **distinct, **SETTINGS}.items():
        monkeypatch.setenv(name.upper(), value)
    config = WorkerConfig()
    built = reachable_values(attempt_policy(config), fetch_policy(config), imaging_limits(config))

    assert len(names) >= 15
    configured = {name: getattr(config, name) for name in names}
    singles = {
        name: value[0] if isinstance(value, tuple) else value for name, value in configured.items()
    }
    assert {name for name, value in singles.items() if value not in built} == set()
