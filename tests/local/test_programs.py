"""How the programs' settings differ from the cloud's."""

from ipaddress import ip_address
from pathlib import Path

from local import programs
from services.common.config import WorkerConfig
from services.worker.fetching.addresses import AddressPolicy


def worker_config(**of_the_user: str) -> WorkerConfig:
    """As the worker reads it from the environment that it is given."""
    needed = {"AWS_REGION": "r", "TASK_TABLE": "t", "TASK_QUEUE_URL": "q", "RESULT_BUCKET": "b"}
    environment = programs.worker(
        {**needed, **of_the_user}, samples_port=9001, health_file=Path("health")
    ).environment
    fields = {name.lower(): value for name, value in environment.items()}
    return WorkerConfig.model_validate(
        {name: fields[name] for name in fields if name in WorkerConfig.model_fields}
    )


def test_the_worker_reaches_the_samples_by_every_name_of_this_machine_and_no_other_server() -> None:
    config = worker_config()
    policy = AddressPolicy(config.fetch_allowed_networks)
    assert all(policy.permits(ip_address(each)) for each in ("127.0.0.1", "::1"))
    assert not any(policy.permits(ip_address(each)) for each in ("10.0.0.1", "169.254.169.254"))
    assert config.fetch_allowed_ports == (80, 443, 9001)


def test_a_setting_of_the_user_s_wins() -> None:
    assert worker_config().log_format == "console"
    assert worker_config(LOG_FORMAT="json").log_format == "json"
