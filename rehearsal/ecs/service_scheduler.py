"""Keeps one service as it is described: so many tasks, of that definition, all healthy.

Its rules are those of ECS's rolling update ("Deploy Amazon ECS services by replacing tasks" and
"Amazon ECS service load balancing", Amazon ECS Developer Guide): start new tasks within the
maximum, wait until they are healthy, take old ones out of the load balancer within the minimum, let
requests under way finish, then stop.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from rehearsal.balancer.target_group import Health, Target, TargetGroup
from rehearsal.changes import Changes
from rehearsal.ecs.definitions import ServiceDefinition, TaskDefinition
from rehearsal.ecs.running_task import ContainerHealth, RunningTask
from rehearsal.failure import Failed

CRASHES_ALLOWED = 3
"""So many, and no more task is started: the least that ECS's deployment circuit breaker waits for.
"""


Launch = Callable[[TaskDefinition], Awaitable[RunningTask]]
"""Starts a task; raises ``Failed`` when that cannot be."""


class ServiceScheduler:
    """`run` it, and say with `order` what the service shall be."""

    def __init__(self, *, launch: Launch, group: TargetGroup | None, changes: Changes) -> None:
        self.tasks: list[RunningTask] = []
        """Those that run, the leaving ones among them."""
        self.stopped: list[tuple[RunningTask, int]] = []
        """Those that were stopped, and their exit codes."""
        self.crashes: list[Failed] = []
        """Those that ended by themselves."""
        self._launch = launch
        self._group = group
        self._changes = changes
        self._service: ServiceDefinition | None = None
        self._definition: TaskDefinition | None = None
        self._earlier_crashes = 0
        """Of other definitions than the ordered one."""
        self._starting = 0

    def order(self, service: ServiceDefinition, definition: TaskDefinition) -> None:
        if definition != self._definition:
            self._earlier_crashes = len(self.crashes)
        self._service, self._definition = service, definition
        self._changes.note()

    @property
    def steady(self) -> bool:
        """Whether exactly the ordered tasks run, and are healthy."""
        return (
            self._service is not None
            and not self._starting
            and len(self.tasks) == self._service.desired_count
            and all(self._is_current(task) and self.is_healthy(task) for task in self.tasks)
        )

    @property
    def failure(self) -> Failed | None:
        """Why the ordered tasks will not become healthy."""
        if self._is_given_up:
            return self.crashes[-1]
        for task in self.tasks:
            if not task.stopping and (reason := self._why_unhealthy(task)):
                return Failed(
                    f"{task.name} is not healthy: {reason}", details=tuple(task.last_lines())
                )
        return None

    async def run(self) -> None:
        """Until cancelled; then everything of the service has ended."""
        async with asyncio.TaskGroup() as lives:
            while True:
                if self._service is not None and self._definition is not None:
                    self._step(self._service, self._definition, lives)
                await self._changes.until(self._something_to_do)

    def is_healthy(self, task: RunningTask) -> bool:
        if task.stopping or (
            task.definition.health_check and task.health is not ContainerHealth.HEALTHY
        ):
            return False
        target = self._target(task)
        return self._group is None or (target is not None and target.health is Health.HEALTHY)

    def _step(
        self, service: ServiceDefinition, definition: TaskDefinition, lives: asyncio.TaskGroup
    ) -> None:
        for _ in range(self._to_start(service)):
            self._starting += 1
            lives.create_task(self._live(definition))
        for task in self._to_stop(service):
            task.stopping = True
            lives.create_task(self._leave(task))

    def _something_to_do(self) -> bool:
        return self._service is not None and bool(
            self._to_start(self._service) or self._to_stop(self._service)
        )

    def _to_start(self, service: ServiceDefinition) -> int:
        """How many tasks to start now."""
        if self._is_given_up:
            return 0
        staying = [task for task in self.tasks if not task.stopping]
        current = sum(map(self._is_current, staying)) + self._starting
        room = service.most_running - len(staying) - self._starting
        return max(0, min(service.desired_count - current, room))

    def _to_stop(self, service: ServiceDefinition) -> Sequence[RunningTask]:
        """Which tasks to stop now: surplus ones, and old ones while enough healthy ones stay."""
        staying = [task for task in self.tasks if not task.stopping]
        old = [task for task in staying if not self._is_current(task)]
        surplus = [task for task in staying if self._is_current(task)][service.desired_count :]
        may_go = sum(map(self.is_healthy, staying)) - service.fewest_healthy
        stop = list(surplus)
        for task in old:
            if not self.is_healthy(task):
                stop.append(task)
            elif may_go > 0:
                stop.append(task)
                may_go -= 1
        return stop

    async def _live(self, definition: TaskDefinition) -> None:
        """One task, from its start to its end."""
        try:
            task = await self._launch(definition)
        finally:
            self._starting -= 1
        self.tasks.append(task)
        self._changes.note()
        watching = self._watch(task)
        try:
            exit_code = await task.container.wait()
        finally:
            for each in watching:
                each.cancel()
            await task.container.remove()
            self.tasks.remove(task)
            self._changes.note()
        if task.stopping:
            self.stopped.append((task, exit_code))
        else:
            self.crashes.append(
                Failed(
                    f"{task.name} ended by itself (exit code {exit_code}): {task.last_words()}",
                    details=tuple(task.last_lines()),
                )
            )
        self._changes.note()

    def _watch(self, task: RunningTask) -> Sequence[asyncio.Task[None]]:
        watching = []
        if task.definition.health_check is not None:
            watching.append(asyncio.create_task(task.keep_checking(task.definition.health_check)))
        if self._group is not None and self._service is not None:
            port = self._service.target_port or task.definition.port or 0
            watching.append(asyncio.create_task(self._group.keep_checking(task.address, port)))
        return watching

    async def _leave(self, task: RunningTask) -> None:
        if self._group is not None and self._target(task) is not None:
            await self._group.drain(task.address)
        await task.container.ask_to_stop()
        task.told_to_stop = True
        self._changes.note()
        try:
            async with asyncio.timeout(task.definition.stop_timeout_s):
                await self._changes.until(lambda: task not in self.tasks)
        except TimeoutError:
            await task.container.remove()

    @property
    def _is_given_up(self) -> bool:
        return len(self.crashes) - self._earlier_crashes >= CRASHES_ALLOWED

    def _is_current(self, task: RunningTask) -> bool:
        return self._definition is not None and task.definition.arn == self._definition.arn

    def _target(self, task: RunningTask) -> Target | None:
        return self._group.target(task.address) if self._group is not None else None

    def _why_unhealthy(self, task: RunningTask) -> str | None:
        if task.health is ContainerHealth.UNHEALTHY:
            return task.health_reason
        target = self._target(task)
        if self._group is not None and target is not None and target.health is Health.UNHEALTHY:
            path = self._group.settings.health_check.path
            return f"the load balancer's GET {path} on port {target.port} {target.reason}"
        return None
