"""The supervisor: what becomes of its consumer processes, of its health and of its exit code."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.processes import Program
from services.worker.health import HealthFile
from testbed.process import Process
from testbed.waiting import wait_until
from tests.worker import fake_consumer

PROJECT = Path(__file__).parents[2]


class Supervised:
    """A supervisor in a process of its own, with fake consumers."""

    def __init__(self, folder: Path, behavior: str, *, consumers: int) -> None:
        self.folder = folder
        self.health = HealthFile(folder / "health", max_age_s=60)
        program = Program(
            "supervisor",
            (
                sys.executable,
                "-m",
                "tests.worker.supervised",
                str(folder),
                str(consumers),
                behavior,
            ),
            {**os.environ, "PYTHONPATH": str(PROJECT)},
        )
        self.process = Process(program, log=folder / "log")

    def started(self) -> set[int]:
        """The process ids of all consumers that have started."""
        return {int(file.stem) for file in self.folder.glob("*.started")}

    def drained(self) -> set[int]:
        return {int(file.stem) for file in self.folder.glob("*.drained")}

    def wait_until_started(self, count: int) -> set[int]:
        wait_until(lambda: len(self.started()) == count, f"{count} consumers have started")
        return self.started()

    def wait_until_healthy(self) -> None:
        wait_until(lambda: self.age_s() < 1, "the supervisor reports recent polls")

    def wait_until_silent(self) -> None:
        wait_until(lambda: self.age_s() > 3, "the supervisor reports an old poll")

    def age_s(self) -> float:
        age_s = self.health.age_s()
        return float("inf") if age_s is None else age_s


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    """Two consumers that poll, and drain at SIGTERM."""
    supervised = Supervised(tmp_path, fake_consumer.POLL, consumers=2)
    with supervised.process:
        supervised.wait_until_healthy()
        yield supervised


def test_sigterm_drains_every_consumer(supervised: Supervised) -> None:
    consumers = supervised.wait_until_started(2)
    supervised.process.terminate()
    assert supervised.process.wait_for_exit() == 0
    assert supervised.drained() == consumers


def test_the_supervisor_exits_after_the_last_consumer_has_drained(tmp_path: Path) -> None:
    supervised = Supervised(tmp_path, fake_consumer.DRAIN_WHEN_ALLOWED, consumers=2)
    with supervised.process:
        supervised.wait_until_healthy()
        supervised.process.terminate()
        wait_until(lambda: supervised.age_s() > 1.5, "the supervisor waits")
        assert supervised.process.is_running()
        (tmp_path / fake_consumer.ALLOWED).touch()
        assert supervised.process.wait_for_exit() == 0
        assert len(supervised.drained()) == 2


def test_a_consumer_that_dies_is_restarted_and_the_other_continues(supervised: Supervised) -> None:
    first, second = supervised.wait_until_started(2)
    os.kill(first, signal.SIGKILL)
    third = (supervised.wait_until_started(3) - {first, second}).pop()
    supervised.wait_until_healthy()
    supervised.process.terminate()
    assert supervised.process.wait_for_exit() == 0
    assert supervised.drained() == {second, third}


def test_the_downloads_of_a_consumer_that_died_are_removed(supervised: Supervised) -> None:
    folders = list((supervised.folder / "scratch").iterdir())
    for folder in folders:
        (folder / "leftover").touch()
    for consumer in supervised.wait_until_started(2):
        os.kill(consumer, signal.SIGKILL)
    for folder in folders:
        wait_until((folder / "download").exists, "the next consumer uses the folder")
        wait_until(lambda folder=folder: not (folder / "leftover").exists(), "it was emptied")  # type: ignore[misc]


def test_a_consumer_that_hangs_makes_the_worker_unhealthy(supervised: Supervised) -> None:
    hanging = supervised.wait_until_started(2).pop()
    os.kill(hanging, signal.SIGSTOP)
    supervised.wait_until_silent()
    os.kill(hanging, signal.SIGCONT)
    supervised.wait_until_healthy()


def test_a_supervisor_that_hangs_makes_the_worker_unhealthy(supervised: Supervised) -> None:
    os.kill(supervised.process.pid, signal.SIGSTOP)
    supervised.wait_until_silent()
    os.kill(supervised.process.pid, signal.SIGCONT)
    supervised.wait_until_healthy()


def test_a_worker_whose_consumers_cannot_start_exits_with_1(tmp_path: Path) -> None:
    supervised = Supervised(tmp_path, fake_consumer.END_AT_ONCE, consumers=2)
    with supervised.process:
        assert supervised.process.wait_for_exit() == 1
    assert supervised.age_s() == float("inf")


def test_a_consumer_that_fails_while_it_drains_is_reported_as_1(tmp_path: Path) -> None:
    supervised = Supervised(tmp_path, fake_consumer.FAIL_TO_DRAIN, consumers=2)
    with supervised.process:
        supervised.wait_until_healthy()
        supervised.process.terminate()
        assert supervised.process.wait_for_exit() == 1
