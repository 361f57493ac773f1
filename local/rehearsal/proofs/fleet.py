"""Workers come and go, and no task is lost."""

from local.rehearsal.failure import Failed
from local.rehearsal.stage import Stage
from local.rehearsal.tasks import TaskClient

BURST = 24
"""Tasks that wait while no worker runs."""
MOST_WORKERS = 3

DRAINING = "worker draining"
"""What a worker says once it has stopped to receive."""


async def drain(stage: Stage, tasks: TaskClient) -> list[str]:
    """SIGTERM in the middle of a task. Returns the ids of tasks that came when no worker ran."""
    async with stage.proof("A worker that is told to go finishes its task, and receives no more"):
        stage.order_workers(1)
        await stage.player.steady(stage.worker)
        (leaving,) = stage.player.scheduler(stage.worker).tasks
        stage.pictures.hold()
        task_id = await tasks.submit(stage.pictures.held_url())
        await stage.pictures.holds(1)
        stage.order_workers(0)
        await stage.changes.until(lambda: leaving.told_to_stop)
        # Ends the poll that is under way. It may just be begun: the signal passes the container's
        # init process first.
        ends_poll = await tasks.submit(stage.pictures.url())
        await leaving.says(DRAINING)
        waiting = [await tasks.submit(stage.pictures.url()) for _ in range(BURST - 1)]
        stage.pictures.release()
        task = await tasks.over(task_id, status="COMPLETED")
        if task["attempt"] != 1:
            raise Failed(f"The task took {task['attempt']} attempts.")
        await stage.player.steady(stage.worker)
        await _nothing_begun(tasks, waiting)
        stage.report.figures.tasksCompleted += 1
    return [ends_poll, *waiting]


async def _nothing_begun(tasks: TaskClient, waiting: list[str]) -> None:
    for task_id in waiting:
        task = await tasks.look(task_id)
        if task["status"] != "PENDING":
            raise Failed(f"Task {task_id} is {task['status']} although no worker runs.")


async def scaling(stage: Stage, tasks: TaskClient, waiting: list[str]) -> None:
    """From 0 to 3 workers for the `waiting` tasks, and to 0 again in the middle of the work."""
    async with stage.proof("0 → 3 → 0 → 1 workers, and no task is lost") as told:
        stage.order_workers(MOST_WORKERS)
        await tasks.completed(waiting)
        await stage.player.steady(stage.worker)
        stage.pictures.hold()
        leaving = [await tasks.submit(stage.pictures.held_url()) for _ in range(MOST_WORKERS)]
        leaving += [await tasks.submit(stage.pictures.url()) for _ in range(BURST)]
        stage.order_workers(0)
        scheduler = stage.player.scheduler(stage.worker)
        await stage.changes.until(lambda: all(task.told_to_stop for task in scheduler.tasks))
        stage.pictures.release()
        # Those that leave have up to their stop timeout; a new one need not wait for that.
        stage.order_workers(1)
        await tasks.completed(leaving)
        stage.report.figures.tasksCompleted += len(waiting) + len(leaving)
        told.append(f"{len(waiting) + len(leaving)} tasks are COMPLETED.")


async def farewells(stage: Stage) -> None:
    """Every task that has ended by now was told to, and did it well and in time."""
    async with stage.proof("Whatever ended was told to, and ended well") as told:
        await stage.player.steady(stage.worker)
        counts = []
        for service in (stage.api, stage.worker):
            scheduler = stage.player.scheduler(service)
            for crash in scheduler.crashes:
                raise crash
            for task, exit_code in scheduler.stopped:
                if exit_code != 0:
                    raise Failed(
                        f"{task.name} was told to stop and ended with exit code {exit_code}.",
                        details=tuple(task.last_lines()),
                    )
            counts.append(len(scheduler.stopped))
        told.append(f"{counts[0]} containers of the API, {counts[1]} of the worker.")
