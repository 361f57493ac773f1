"""The file by which the health check of another process sees the poll loop."""

import threading
from pathlib import Path

from services.worker.health import HealthFile


def test_a_check_in_the_middle_of_a_note_sees_the_round_before(tmp_path: Path) -> None:
    noted = HealthFile(tmp_path / "health")
    noted.note_round()
    over = threading.Event()

    def go_round() -> None:
        while not over.is_set():
            noted.note_round()

    poll_loop = threading.Thread(target=go_round)
    poll_loop.start()
    try:
        seen = [HealthFile(tmp_path / "health").age_s() for _ in range(2_000)]
    finally:
        over.set()
        poll_loop.join()
    assert None not in seen


def test_a_disk_that_takes_no_note_makes_the_worker_unhealthy_and_does_not_end_it(
    tmp_path: Path,
) -> None:
    health = HealthFile(tmp_path / "no such folder" / "health")
    health.note_round()
    assert health.age_s() is None
