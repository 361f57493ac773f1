"""Keeps the tasks of one service running as described, like the ECS service scheduler.

It follows the rules of a rolling update ("Deploy Amazon ECS services by replacing tasks" and
"Amazon ECS service load balancing", Amazon ECS Developer Guide): start new tasks within the maximum
percent, wait until they are healthy, deregister old ones from the load balancer within the minimum
healthy percent, let their requests finish, then stop them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from rehearsal.balancer.target_group import Target, TargetGroup, TargetHealth
from rehearsal.change_notifier import ChangeNotifier
from rehearsal.ecs.definitions import ServiceDefinition, TaskDefinition
from rehearsal.ecs.running_task import ContainerHealth, RunningTask
from rehearsal.failure import RehearsalFailed

MAX_CRASHES = 3
"""Crashes of one definition after which no task is started: the lowest threshold of ECS's
deployment circuit breaker."""

Launch = Callable[[TaskDefinition], Awaitable[RunningTask]]
"""Starts a task. Raises ``RehearsalFailed`` if that is impossible."""


class ServiceScheduler:
    """Does nothing until ``run`` and ``update`` are called."""

    def __init__(
        self, *, launch: Launch, group: TargetGroup | None, changes: ChangeNotifier
    ) -> None:
        self.tasks: list[RunningTask] = []
        """All running tasks, including those that are stopping."""
        self.stopped: list[tuple[RunningTask, int]] = []
        """Tasks that were stopped, with their exit codes."""
        self.crashes: list[RehearsalFailed] = []
        """One failure for each task that exited without being stopped."""
        self._launch = launch
        self._group = group
        self._changes = changes
        self._service: ServiceDefinition | None = None
        self._definition: TaskDefinition | None = None
        self._earlier_crashes = 0
        """Crashes of earlier definitions."""
        self._starting = 0

    def update(self, service: ServiceDefinition, definition: TaskDefinition) -> None:
        """Set the service that should run from now on."""
        if definition != self._definition:
            self._earlier_crashes = len(self.crashes)
        self._service, self._definition = service, definition
        self._changes.notify()

    @property
    def is_steady(self) -> bool:
        """Whether exactly the desired tasks run, and all are healthy."""
        return (
            self._service is not None
            and not self._starting
            and len(self.tasks) == self._service.desired_count
            and all(self._is_current(task) and self.is_healthy(task) for task in self.tasks)
        )

    @property
    def failure(self) -> RehearsalFailed | None:
        """Why the desired tasks cannot become healthy; None as long as they may."""
        if self._has_given_up:
            return self.crashes[-1]
        for task in self.tasks:
            if not task.stopping and (reason := self._unhealthy_reason(task)):
                return RehearsalFailed(
                    f"{task.name} is not healthy: {reason}", details=tuple(task.last_lines())
                )
        return None

    async def run(self) -> None:
        """Run until canceled. Then no task of the service is left running."""
        async with asyncio.TaskGroup() as background:
            while True:
                if self._service is not None and self._definition is not None:
                    self._apply(self._service, self._definition, background)
                await self._changes.wait_for(self._has_work)

    def is_healthy(self, task: RunningTask) -> bool:
        if task.stopping or (
            task.definition.health_check and task.health is not ContainerHealth.HEALTHY
        ):
            return False
        target = self._target(task)
        return self._group is None or (target is not None and target.health is TargetHealth.HEALTHY)

    def _apply(
        self, service: ServiceDefinition, definition: TaskDefinition, background: asyncio.TaskGroup
    ) -> None:
        for _ in range(self._start_count(service)):
            self._starting += 1
            background.create_task(self._run_task(definition))
        for task in self._tasks_to_stop(service):
            task.stopping = True
            background.create_task(self._stop_task(task))

    def _has_work(self) -> bool:
        return self._service is not None and bool(
            self._start_count(self._service) or self._tasks_to_stop(self._service)
        )

    def _start_count(self, service: ServiceDefinition) -> int:
        """The number of tasks to start now."""
        if self._has_given_up:
            return 0
        active = [task for task in self.tasks if not task.stopping]
        current = sum(map(self._is_current, active)) + self._starting
        room = service.max_running_tasks - len(active) - self._starting
        return max(0, min(service.desired_count - current, room))

    def _tasks_to_stop(self, service: ServiceDefinition) -> Sequence[RunningTask]:
        """The tasks to stop now: surplus ones, and old ones while enough healthy tasks remain."""
        active = [task for task in self.tasks if not task.stopping]
        old = [task for task in active if not self._is_current(task)]
        surplus = [task for task in active if self._is_current(task)][service.desired_count :]
        dispensable = sum(map(self.is_healthy, active)) - service.min_healthy_tasks
        stop = list(surplus)
        for task in old:
            if not self.is_healthy(task):
                stop.append(task)
            elif dispensable > 0:
                stop.append(task)
                dispensable -= 1
        return stop

    async def _run_task(self, definition: TaskDefinition) -> None:
        """Start a task, check its health, and wait until it exits."""
        try:
            task = await self._launch(definition)
        finally:
            self._starting -= 1
        self.tasks.append(task)
        self._changes.notify()
        health_checks = self._start_health_checks(task)
        try:
            exit_code = await task.container.wait()
        finally:
            for check in health_checks:
                check.cancel()
            await task.container.remove()
            self.tasks.remove(task)
            self._changes.notify()
        if task.stopping:
            self.stopped.append((task, exit_code))
        else:
            self.crashes.append(
                RehearsalFailed(
                    f"{task.name} exited by itself (exit code {exit_code}): {task.last_line()}",
                    details=tuple(task.last_lines()),
                )
            )
        self._changes.notify()

    def _start_health_checks(self, task: RunningTask) -> Sequence[asyncio.Task[None]]:
        checks = []
        if task.definition.health_check is not None:
            checks.append(asyncio.create_task(task.keep_checking(task.definition.health_check)))
        if self._group is not None and self._service is not None:
            port = self._service.target_port or task.definition.port or 0
            checks.append(asyncio.create_task(self._group.keep_checking(task.address, port)))
        return checks

    async def _stop_task(self, task: RunningTask) -> None:
        if self._group is not None and self._target(task) is not None:
            await self._group.drain(task.address)
        await task.container.send_stop_signal()
        task.stop_signal_sent = True
        self._changes.notify()
        try:
            async with asyncio.timeout(task.definition.stop_timeout_s):
                await self._changes.wait_for(lambda: task not in self.tasks)
        except TimeoutError:
            await task.container.remove()

    @property
    def _has_given_up(self) -> bool:
        return len(self.crashes) - self._earlier_crashes >= MAX_CRASHES

    def _is_current(self, task: RunningTask) -> bool:
        return self._definition is not None and task.definition.arn == self._definition.arn

    def _target(self, task: RunningTask) -> Target | None:
        return self._group.target(task.address) if self._group is not None else None

    def _unhealthy_reason(self, task: RunningTask) -> str | None:
        if task.health is ContainerHealth.UNHEALTHY:
            return task.health_reason
        target = self._target(task)
        if (
            self._group is not None
            and target is not None
            and target.health is TargetHealth.UNHEALTHY
        ):
            path = self._group.settings.health_check.path
            return f"the load balancer's GET {path} on port {target.port} {target.reason}"
        return None
