"""Settings of the programs that differ from the cloud."""

from ipaddress import ip_address
from pathlib import Path

from local import programs
from services.common.config import WorkerConfig
from services.worker.fetching.addresses import AddressPolicy


def worker_config(**user: str) -> WorkerConfig:
    """The worker's settings if the user's environment contains `user`."""
    required = {
        "AWS_REGION": "r",
        "TASK_TABLE": "t",
        "TASK_QUEUE_URL": "q",
        "DEAD_LETTER_QUEUE_URL": "d",
        "RESULT_BUCKET": "b",
    }
    environment = programs.worker(
        {**required, **user}, samples_port=9001, health_file=Path("health")
    ).environment
    fields = {name.lower(): value for name, value in environment.items()}
    return WorkerConfig.model_validate(
        {name: fields[name] for name in fields if name in WorkerConfig.model_fields}
    )


def test_the_worker_may_fetch_from_loopback_but_not_from_other_private_addresses() -> None:
    config = worker_config()
    policy = AddressPolicy(config.fetch_allowed_networks)
    assert all(policy.permits(ip_address(each)) for each in ("127.0.0.1", "::1"))
    assert not any(policy.permits(ip_address(each)) for each in ("10.0.0.1", "169.254.169.254"))
    assert config.fetch_allowed_ports == (80, 443, 9001)


def test_the_user_s_settings_override_the_defaults() -> None:
    assert worker_config().log_format == "console"
    assert worker_config(LOG_FORMAT="json").log_format == "json"
