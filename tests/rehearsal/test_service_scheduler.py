"""A service is kept as it is ordered: starts, scaling, rolling updates, crashes, farewells."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from rehearsal.changes import Changes
from rehearsal.ecs.definitions import HealthCheck, ServiceDefinition, TaskDefinition
from rehearsal.ecs.running_task import RunningTask
from rehearsal.ecs.service_scheduler import ServiceScheduler

FIRST = TaskDefinition(
    arn="worker:1",
    family="worker",
    repository="images",
    image_tag="tag",
    command=[],
    environment={},
    user=None,
    read_only_root=True,
    init_process=True,
    dropped_capabilities=["ALL"],
    writable_paths=["/tmp"],  # noqa: S108 - a container's
    health_check=HealthCheck(["check"], 0.001, 1, retries=2, start_period_s=0),
    stop_timeout_s=60,
    port=None,
    cpu_units=256,
    memory_mib=512,
    task_role_arn="role",
    execution_role_arn="role",
    log_group="logs",
)
SECOND = replace(FIRST, arn="worker:2")

TWO = ServiceDefinition(
    name="worker",
    cluster="cluster",
    task_definition_arn=FIRST.arn,
    desired_count=2,
    min_healthy_percent=100,
    max_percent=200,
    target_group_arn=None,
    target_port=None,
)
WITHIN_S = 10


class FakeContainer:
    """Ends when it is told to stop, unless it is `deaf`; healthy while `well`."""

    def __init__(self, *, well: bool = True, deaf: bool = False) -> None:
        self.well = well
        self.removed = False
        self._deaf = deaf
        self._ended = asyncio.Event()
        self._exit_code = 0

    async def wait(self) -> int:
        await self._ended.wait()
        return self._exit_code

    async def execute(self, command: Sequence[str]) -> tuple[int, str]:
        return (0, "") if self.well else (1, "out of order")

    async def ask_to_stop(self) -> None:
        if not self._deaf:
            self.end(0)

    async def remove(self) -> None:
        self.removed = True
        if not self._ended.is_set():
            self.end(137)

    def end(self, exit_code: int) -> None:
        self._exit_code = exit_code
        self._ended.set()


class Played:
    """A scheduler, and the containers that it has started, by definition."""

    def __init__(self, folder: Path, *, well: bool, deaf: bool) -> None:
        self.changes = Changes()
        self.containers: dict[str, list[FakeContainer]] = {}
        self.most_at_once = 0
        self._log = folder / "log"
        self._log.write_text("last words\n")
        self.starts_well = well
        """Of the containers that are still to be started."""
        self._deaf = deaf
        self.scheduler = ServiceScheduler(launch=self._launch, group=None, changes=self.changes)

    @property
    def well(self) -> int:
        """How many run and are well."""
        tasks = self.scheduler.tasks
        return sum(self.scheduler.is_healthy(task) for task in tasks)

    async def steady(self) -> None:
        await self.until(lambda: self.scheduler.steady)

    async def until(self, predicate: object) -> None:
        assert callable(predicate)
        async with asyncio.timeout(WITHIN_S):
            await self.changes.until(predicate)

    async def _launch(self, definition: TaskDefinition) -> RunningTask:
        container = FakeContainer(well=self.starts_well, deaf=self._deaf)
        self.containers.setdefault(definition.arn, []).append(container)
        self.most_at_once = max(self.most_at_once, len(self.scheduler.tasks) + 1)
        return RunningTask(
            name=f"{definition.arn}-{len(self.containers[definition.arn])}",
            definition=definition,
            container=container,
            address="127.0.0.1",
            log=self._log,
            changes=self.changes,
        )


@asynccontextmanager
async def playing(folder: Path, *, well: bool = True, deaf: bool = False) -> AsyncIterator[Played]:
    played = Played(folder, well=well, deaf=deaf)
    running = asyncio.create_task(played.scheduler.run())
    try:
        yield played
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def test_it_starts_what_is_ordered(tmp_path: Path) -> None:
    async def check() -> None:
        async with playing(tmp_path) as played:
            played.scheduler.order(TWO, FIRST)
            await played.steady()
            assert len(played.scheduler.tasks) == 2

    asyncio.run(check())


def test_it_scales_in_and_out(tmp_path: Path) -> None:
    async def check() -> None:
        async with playing(tmp_path) as played:
            for count in (3, 0, 1):
                played.scheduler.order(replace(TWO, desired_count=count), FIRST)
                await played.steady()
                assert len(played.scheduler.tasks) == count
            assert [exit_code for _, exit_code in played.scheduler.stopped] == [0, 0, 0]
            assert not played.scheduler.crashes

    asyncio.run(check())


def test_an_update_replaces_every_task_and_keeps_enough_of_them_well(tmp_path: Path) -> None:
    async def check() -> None:
        async with playing(tmp_path) as played:
            played.scheduler.order(TWO, FIRST)
            await played.steady()
            fewest = played.well
            played.scheduler.order(TWO, SECOND)
            while not played.scheduler.steady:
                fewest = min(fewest, played.well)
                await asyncio.sleep(0)
            assert {task.definition.arn for task in played.scheduler.tasks} == {SECOND.arn}
            assert fewest == 2
            assert played.most_at_once == 4

    asyncio.run(check())


def test_old_tasks_stay_while_the_new_ones_are_ill(tmp_path: Path) -> None:
    async def check() -> None:
        async with playing(tmp_path) as played:
            played.scheduler.order(TWO, FIRST)
            await played.steady()
            played.starts_well = False
            played.scheduler.order(TWO, SECOND)
            await played.until(lambda: played.scheduler.failure is not None)
            old = played.containers[FIRST.arn]
            assert not any(container.removed for container in old)
            assert played.well == 2

    asyncio.run(check())


def test_an_ill_task_is_named_with_what_its_check_says(tmp_path: Path) -> None:
    async def check() -> None:
        async with playing(tmp_path, well=False) as played:
            played.scheduler.order(TWO, FIRST)
            await played.until(lambda: played.scheduler.failure is not None)
            assert "its health check says: out of order" in str(played.scheduler.failure)

    asyncio.run(check())


def test_a_task_that_ends_by_itself_is_replaced_and_remembered(tmp_path: Path) -> None:
    async def check() -> None:
        async with playing(tmp_path) as played:
            played.scheduler.order(TWO, FIRST)
            await played.steady()
            played.containers[FIRST.arn][0].end(1)
            await played.until(lambda: bool(played.scheduler.crashes))
            await played.steady()
            assert len(played.containers[FIRST.arn]) == 3
            assert "exit code 1): last words" in str(played.scheduler.crashes[0])

    asyncio.run(check())


def test_after_three_such_ends_no_more_is_started(tmp_path: Path) -> None:
    async def check() -> None:
        async with playing(tmp_path) as played:
            played.scheduler.order(replace(TWO, desired_count=1), FIRST)
            for number in range(3):
                await played.until(
                    lambda n=number: len(played.containers.get(FIRST.arn, ())) == n + 1
                )
                played.containers[FIRST.arn][number].end(2)
            await played.until(lambda: played.scheduler.failure is not None)
            assert len(played.containers[FIRST.arn]) == 3

    asyncio.run(check())


def test_who_does_not_hear_is_killed_after_its_stop_timeout(tmp_path: Path) -> None:
    async def check() -> None:
        async with playing(tmp_path, deaf=True) as played:
            hasty = replace(FIRST, stop_timeout_s=0)
            played.scheduler.order(TWO, hasty)
            await played.steady()
            played.scheduler.order(replace(TWO, desired_count=0), hasty)
            await played.steady()
            assert [exit_code for _, exit_code in played.scheduler.stopped] == [137, 137]

    asyncio.run(check())


def test_nothing_is_left_when_it_is_stopped(tmp_path: Path) -> None:
    async def check() -> None:
        async with playing(tmp_path, deaf=True) as played:
            played.scheduler.order(TWO, FIRST)
            await played.steady()
        assert all(container.removed for container in played.containers[FIRST.arn])

    asyncio.run(check())


@pytest.mark.parametrize(
    ("desired", "fewest", "most"), [(2, 1, 4), (1, 1, 2), (3, 2, 6), (0, 0, 0)]
)
def test_a_deployments_bounds_are_rounded_as_ecs_does(desired: int, fewest: int, most: int) -> None:
    service = replace(TWO, desired_count=desired, min_healthy_percent=50)

    assert (service.fewest_healthy, service.most_running) == (fewest, most)
