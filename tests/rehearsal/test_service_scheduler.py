"""The service scheduler: starts, scaling, rolling updates, crashes and stops."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from rehearsal.change_notifier import ChangeNotifier
from rehearsal.ecs.definitions import TaskDefinition
from rehearsal.ecs.running_task import RunningTask
from rehearsal.ecs.service_scheduler import ServiceScheduler
from tests.rehearsal.definitions import SERVICE, VERSION_1, VERSION_2

TIMEOUT_S = 10


class FakeContainer:
    """Exits on its stop signal unless it ignores that. Its health check returns `healthy`."""

    def __init__(self, *, healthy: bool = True, ignores_stop_signal: bool = False) -> None:
        self.removed = False
        self._healthy = healthy
        self._ignores_stop_signal = ignores_stop_signal
        self._exited = asyncio.Event()
        self._exit_code = 0

    async def wait(self) -> int:
        await self._exited.wait()
        return self._exit_code

    async def execute(self, command: Sequence[str]) -> tuple[int, str]:
        return (0, "") if self._healthy else (1, "out of order")

    async def send_stop_signal(self) -> None:
        if not self._ignores_stop_signal:
            self.exit(0)

    async def remove(self) -> None:
        self.removed = True
        if not self._exited.is_set():
            self.exit(137)

    def exit(self, exit_code: int) -> None:
        self._exit_code = exit_code
        self._exited.set()


class SchedulerUnderTest:
    """A scheduler with fake containers. `starts_healthy` applies to the next containers."""

    def __init__(self, folder: Path, *, healthy: bool, ignores_stop_signal: bool) -> None:
        self.changes = ChangeNotifier()
        self.containers: dict[str, list[FakeContainer]] = {}
        """All containers so far, by the ARN of their definition."""
        self.max_running = 0
        self.starts_healthy = healthy
        self._log = folder / "log"
        self._log.write_text("last output\n")
        self._ignores_stop_signal = ignores_stop_signal
        self.scheduler = ServiceScheduler(launch=self._launch, group=None, changes=self.changes)

    @property
    def healthy_count(self) -> int:
        return sum(self.scheduler.is_healthy(task) for task in self.scheduler.tasks)

    async def wait_until_steady(self) -> None:
        await self.wait_for(lambda: self.scheduler.is_steady)

    async def wait_until_started(self, definition: TaskDefinition, count: int) -> None:
        """Wait until this many containers were started, stopped ones included."""
        await self.wait_for(lambda: len(self.containers.get(definition.arn, ())) == count)

    async def wait_for(self, predicate: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            await self.changes.wait_for(predicate)

    async def _launch(self, definition: TaskDefinition) -> RunningTask:
        container = FakeContainer(
            healthy=self.starts_healthy, ignores_stop_signal=self._ignores_stop_signal
        )
        self.containers.setdefault(definition.arn, []).append(container)
        self.max_running = max(self.max_running, len(self.scheduler.tasks) + 1)
        return RunningTask(
            name=f"{definition.arn}-{len(self.containers[definition.arn])}",
            definition=definition,
            container=container,
            address="127.0.0.1",
            log=self._log,
            changes=self.changes,
        )


@asynccontextmanager
async def running_scheduler(
    folder: Path, *, healthy: bool = True, ignores_stop_signal: bool = False
) -> AsyncIterator[SchedulerUnderTest]:
    under_test = SchedulerUnderTest(
        folder, healthy=healthy, ignores_stop_signal=ignores_stop_signal
    )
    running = asyncio.create_task(under_test.scheduler.run())
    try:
        yield under_test
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def test_starts_the_desired_tasks(tmp_path: Path) -> None:
    async def check() -> None:
        async with running_scheduler(tmp_path) as under_test:
            under_test.scheduler.update(SERVICE, VERSION_1)
            await under_test.wait_until_steady()
            assert len(under_test.scheduler.tasks) == 2

    asyncio.run(check())


def test_follows_the_desired_count(tmp_path: Path) -> None:
    async def check() -> None:
        async with running_scheduler(tmp_path) as under_test:
            for count in (3, 0, 1):
                under_test.scheduler.update(replace(SERVICE, desired_count=count), VERSION_1)
                await under_test.wait_until_steady()
                assert len(under_test.scheduler.tasks) == count
            assert [exit_code for _, exit_code in under_test.scheduler.stopped] == [0, 0, 0]
            assert not under_test.scheduler.crashes

    asyncio.run(check())


def test_a_rolling_update_replaces_every_task_within_the_bounds(tmp_path: Path) -> None:
    async def check() -> None:
        async with running_scheduler(tmp_path) as under_test:
            under_test.scheduler.update(SERVICE, VERSION_1)
            await under_test.wait_until_steady()
            min_healthy = under_test.healthy_count
            under_test.scheduler.update(SERVICE, VERSION_2)
            while not under_test.scheduler.is_steady:
                min_healthy = min(min_healthy, under_test.healthy_count)
                await asyncio.sleep(0)
            running = {task.definition.arn for task in under_test.scheduler.tasks}
            assert running == {VERSION_2.arn}
            assert min_healthy == 2
            assert under_test.max_running == 4

    asyncio.run(check())


def test_old_tasks_keep_running_while_the_new_ones_are_unhealthy(tmp_path: Path) -> None:
    async def check() -> None:
        async with running_scheduler(tmp_path) as under_test:
            under_test.scheduler.update(SERVICE, VERSION_1)
            await under_test.wait_until_steady()
            under_test.starts_healthy = False
            under_test.scheduler.update(SERVICE, VERSION_2)
            await under_test.wait_for(lambda: under_test.scheduler.failure is not None)
            old = under_test.containers[VERSION_1.arn]
            assert not any(container.removed for container in old)
            assert under_test.healthy_count == 2

    asyncio.run(check())


def test_the_failure_of_an_unhealthy_task_contains_the_output_of_its_check(tmp_path: Path) -> None:
    async def check() -> None:
        async with running_scheduler(tmp_path, healthy=False) as under_test:
            under_test.scheduler.update(SERVICE, VERSION_1)
            await under_test.wait_for(lambda: under_test.scheduler.failure is not None)
            failure = str(under_test.scheduler.failure)
            assert "its health check failed: out of order" in failure

    asyncio.run(check())


def test_a_crashed_task_is_replaced_and_reported(tmp_path: Path) -> None:
    async def check() -> None:
        async with running_scheduler(tmp_path) as under_test:
            under_test.scheduler.update(SERVICE, VERSION_1)
            await under_test.wait_until_steady()
            under_test.containers[VERSION_1.arn][0].exit(1)
            await under_test.wait_for(lambda: bool(under_test.scheduler.crashes))
            await under_test.wait_until_steady()
            assert len(under_test.containers[VERSION_1.arn]) == 3
            assert "exit code 1): last output" in str(under_test.scheduler.crashes[0])

    asyncio.run(check())


def test_no_task_is_started_after_three_crashes(tmp_path: Path) -> None:
    async def check() -> None:
        async with running_scheduler(tmp_path) as under_test:
            under_test.scheduler.update(replace(SERVICE, desired_count=1), VERSION_1)
            for number in range(3):
                await under_test.wait_until_started(VERSION_1, number + 1)
                under_test.containers[VERSION_1.arn][number].exit(2)
            await under_test.wait_for(lambda: under_test.scheduler.failure is not None)
            assert len(under_test.containers[VERSION_1.arn]) == 3

    asyncio.run(check())


def test_a_task_that_ignores_its_stop_signal_is_killed_after_the_stop_timeout(
    tmp_path: Path,
) -> None:
    async def check() -> None:
        async with running_scheduler(tmp_path, ignores_stop_signal=True) as under_test:
            without_timeout = replace(VERSION_1, stop_timeout_s=0)
            under_test.scheduler.update(SERVICE, without_timeout)
            await under_test.wait_until_steady()
            under_test.scheduler.update(replace(SERVICE, desired_count=0), without_timeout)
            await under_test.wait_until_steady()
            assert [exit_code for _, exit_code in under_test.scheduler.stopped] == [137, 137]

    asyncio.run(check())


def test_canceling_removes_every_container(tmp_path: Path) -> None:
    async def check() -> None:
        async with running_scheduler(tmp_path, ignores_stop_signal=True) as under_test:
            under_test.scheduler.update(SERVICE, VERSION_1)
            await under_test.wait_until_steady()
        assert all(container.removed for container in under_test.containers[VERSION_1.arn])

    asyncio.run(check())


@pytest.mark.parametrize(
    ("desired", "min_healthy", "max_running"), [(2, 1, 4), (1, 1, 2), (3, 2, 6), (0, 0, 0)]
)
def test_the_bounds_of_a_deployment_are_rounded_as_ecs_does(
    desired: int, min_healthy: int, max_running: int
) -> None:
    service = replace(SERVICE, desired_count=desired, min_healthy_percent=50)

    assert service.min_healthy_tasks == min_healthy
    assert service.max_running_tasks == max_running
