"""How many tasks are admitted, on a simulated machine with a clock of its own."""

from dataclasses import dataclass, field

import pytest

from services.worker.admission import INITIAL_LIMIT, INTERVAL_S, MIN_LIMIT, Admission


@dataclass
class Machine:
    """Runs as many tasks as are admitted, and waiting ones enough.

    A task waits `wait_s` and computes `cpu_s`. Together the tasks use at most `vcpus`.
    """

    wait_s: float = 0.2
    cpu_s: float = 0.01
    vcpus: float = 1.0
    maximum: int = 128
    offered: float = float("inf")
    """The most tasks in progress for which there are messages."""
    image_wait_s: float = 0.0
    now: float = 0.0
    used_cpu_s: float = 0.0
    admission: Admission = field(init=False)

    def __post_init__(self) -> None:
        self.admission = Admission(
            vcpus=self.vcpus,
            maximum=self.maximum,
            cpu_s=lambda: self.used_cpu_s,
            image_wait_s=lambda: self.image_wait_s,
            clock=lambda: self.now,
        )

    def utilization(self, running: float) -> float:
        return min(running * self.cpu_s / (self.wait_s + self.cpu_s), self.vcpus) / self.vcpus

    def run(self, *, seconds: int) -> float:
        """Return the utilization at the end."""
        for _ in range(seconds):
            running = min(self.admission.limit(), self.offered)
            self.admission.set_running(int(running))
            self.now += INTERVAL_S
            self.used_cpu_s += self.utilization(running) * self.vcpus * INTERVAL_S
        return self.utilization(self.admission.limit())


@pytest.mark.parametrize("vcpus", [1.0, 0.25])
@pytest.mark.parametrize("wait_s", [0.05, 0.2, 1.0])
@pytest.mark.parametrize("cpu_s", [0.008, 0.02])
def test_the_cpu_is_kept_busy_and_not_overloaded(wait_s: float, cpu_s: float, vcpus: float) -> None:
    machine = Machine(wait_s=wait_s, cpu_s=cpu_s, vcpus=vcpus, maximum=1_000)
    reached = machine.run(seconds=15)
    at_least_eight = machine.admission.limit() == INITIAL_LIMIT
    assert 0.85 <= reached <= 0.95 or (reached > 0.95 and at_least_eight)


def test_the_limit_follows_the_latency() -> None:
    machine = Machine(wait_s=0.2)
    machine.run(seconds=15)
    before = machine.admission.limit()
    machine.wait_s = 0.8
    assert 0.85 <= machine.run(seconds=15) <= 0.95
    assert machine.admission.limit() > 3 * before
    machine.wait_s = 0.2
    assert 0.85 <= machine.run(seconds=15) <= 0.95


def test_the_limit_never_exceeds_the_maximum() -> None:
    machine = Machine(wait_s=10, maximum=20)
    machine.run(seconds=15)
    assert machine.admission.limit() == 20


def test_a_maximum_below_the_initial_limit_holds_from_the_start() -> None:
    assert Machine(maximum=2).admission.limit() == 2


def test_the_limit_stays_while_the_queue_is_short() -> None:
    machine = Machine(offered=2)
    machine.run(seconds=15)
    assert machine.admission.limit() == INITIAL_LIMIT


def test_eight_tasks_are_admitted_although_each_keeps_the_cpu_busy() -> None:
    machine = Machine(wait_s=0.0, cpu_s=0.3)
    machine.run(seconds=15)
    assert machine.admission.limit() == INITIAL_LIMIT


def test_fewer_tasks_are_admitted_while_images_wait_long_for_a_process() -> None:
    machine = Machine(wait_s=0.0, cpu_s=20, image_wait_s=10)
    machine.run(seconds=15)
    assert machine.admission.limit() == MIN_LIMIT
    machine.image_wait_s = 0.0
    machine.run(seconds=5)
    assert machine.admission.limit() == INITIAL_LIMIT
