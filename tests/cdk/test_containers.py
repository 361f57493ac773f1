"""The hardening, logging, health checks and sizes of all containers."""

import pytest

from cdk.template.templates import Templates

SERVICES = ("api", "worker", "reconciler")


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_has_no_privileges(deployment: Templates, service: str) -> None:
    container = deployment.container(service)

    assert container["User"] == "10001:10001"
    assert container["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
    assert container.get("Privileged") in {None, False}


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_can_only_write_to_tmp(deployment: Templates, service: str) -> None:
    task, container = deployment.tasks[service], deployment.container(service)
    (mount,) = container["MountPoints"]

    assert container["ReadonlyRootFilesystem"] is True
    assert mount["ContainerPath"] == "/tmp"  # noqa: S108
    assert mount["ReadOnly"] is False
    assert [volume["Name"] for volume in task["Volumes"]] == [mount["SourceVolume"]]


@pytest.mark.parametrize("service", SERVICES)
def test_logs_expire_and_never_block_the_service(deployment: Templates, service: str) -> None:
    task, container = deployment.tasks[service], deployment.container(service)
    options = container["LogConfiguration"]["Options"]

    group = deployment.target(options["awslogs-group"], stack=task.stack)

    assert group["RetentionInDays"] == deployment.settings.log_retention_days
    assert options["mode"] == "non-blocking"
    assert options["max-buffer-size"] == f"{25 * 1024**2}b"


@pytest.mark.parametrize(
    ("service", "command"),
    [
        ("api", ["CMD", "python", "-I", "-S", "services/api/probe.py"]),
        ("worker", ["CMD", "python", "-I", "-S", "services/worker/probe.py"]),
    ],
)
def test_a_container_has_a_health_check(
    deployment: Templates, service: str, command: list[str]
) -> None:
    container = deployment.container(service)

    assert container["HealthCheck"]["Command"] == command


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_has_the_size_of_the_settings(deployment: Templates, service: str) -> None:
    task = deployment.tasks[service]

    assert task["Cpu"] == str(getattr(deployment.settings, f"{service}_cpu"))
    assert task["Memory"] == str(getattr(deployment.settings, f"{service}_memory_mib"))
    assert task["RuntimePlatform"]["CpuArchitecture"] == deployment.settings.cpu_architecture
