"""The health file, which the poll loop writes and another process reads."""

import threading
from pathlib import Path

from services.worker.health import HealthFile


def test_a_reader_never_sees_a_partial_file(tmp_path: Path) -> None:
    written = HealthFile(tmp_path / "health")
    written.touch()
    stop = threading.Event()

    def touch_until_stopped() -> None:
        while not stop.is_set():
            written.touch()

    poll_loop = threading.Thread(target=touch_until_stopped)
    poll_loop.start()
    try:
        ages = [HealthFile(tmp_path / "health").age_s() for _ in range(2_000)]
    finally:
        stop.set()
        poll_loop.join()
    assert None not in ages


def test_a_disk_error_makes_the_worker_unhealthy_without_raising(tmp_path: Path) -> None:
    health = HealthFile(tmp_path / "no such folder" / "health")
    health.touch()
    assert health.age_s() is None
