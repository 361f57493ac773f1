"""The health file, which the supervisor writes and the container's health check reads."""

import threading
import time
from pathlib import Path

import pytest

from services.common.config import WorkerConfig
from services.worker import probe
from services.worker.health import HealthFile

MAX_AGE_S = 60


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "health"


@pytest.fixture
def health_file(path: Path) -> HealthFile:
    return HealthFile(path, max_age_s=MAX_AGE_S)


def test_a_worker_is_healthy_after_a_recent_poll(path: Path, health_file: HealthFile) -> None:
    health_file.write(time.monotonic())

    assert probe.fault(str(path)) is None


def test_a_worker_is_unhealthy_before_the_first_poll(path: Path) -> None:
    assert probe.fault(str(path)) == "the worker has not polled yet"


def test_an_old_poll_is_reported_with_the_limit(path: Path, health_file: HealthFile) -> None:
    health_file.write(time.monotonic())
    _, max_age_s = path.read_text().split()
    path.write_text(f"{time.monotonic() - MAX_AGE_S - 1} {max_age_s}")

    fault = probe.fault(str(path))

    assert fault is not None
    assert fault.endswith("the limit is 60 s")


def test_the_health_check_reads_the_file_that_the_worker_writes_by_default() -> None:
    assert WorkerConfig.model_fields["health_file"].default == probe.DEFAULT_HEALTH_FILE


def test_a_reader_never_sees_a_partial_file(path: Path, health_file: HealthFile) -> None:
    health_file.write(time.monotonic())
    stop = threading.Event()

    def write_until_stopped() -> None:
        while not stop.is_set():
            health_file.write(time.monotonic())

    supervisor = threading.Thread(target=write_until_stopped)
    supervisor.start()
    try:
        faults = {probe.fault(str(path)) for _ in range(2_000)}
    finally:
        stop.set()
        supervisor.join()
    assert faults == {None}


def test_a_disk_error_makes_the_worker_unhealthy_without_raising(tmp_path: Path) -> None:
    path = tmp_path / "no such folder" / "health"

    HealthFile(path, max_age_s=MAX_AGE_S).write(time.monotonic())

    assert probe.fault(str(path)) is not None
