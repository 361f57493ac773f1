"""Workers come and go, and no task is lost."""

from rehearsal.failure import Failed
from rehearsal.proof_context import ProofContext
from rehearsal.task_client import TaskClient

BURST = 24
"""Tasks that wait while no worker runs."""
MOST_WORKERS = 3

DRAINING = "worker draining"
"""What a worker says once it has stopped to receive."""


async def drain(context: ProofContext, tasks: TaskClient) -> list[str]:
    """SIGTERM in the middle of a task. Returns the ids of tasks that came when no worker ran."""
    async with context.proof("A worker that is told to go finishes its task, and receives no more"):
        context.order_workers(1)
        await context.player.steady(context.worker)
        (leaving,) = context.player.scheduler(context.worker).tasks
        context.images.hold()
        task_id = await tasks.submit(context.images.held_url())
        await context.images.holds(1)
        context.order_workers(0)
        await context.changes.until(lambda: leaving.told_to_stop)
        # Ends the poll that is under way. It may just be begun: the signal passes the container's
        # init process first.
        ends_poll = await tasks.submit(context.images.url())
        await leaving.says(DRAINING)
        waiting = [await tasks.submit(context.images.url()) for _ in range(BURST - 1)]
        context.images.release()
        task = await tasks.over(task_id, status="COMPLETED")
        if task["attempt"] != 1:
            raise Failed(f"The task took {task['attempt']} attempts.")
        await context.player.steady(context.worker)
        await _nothing_begun(tasks, waiting)
        context.report.figures.tasksCompleted += 1
    return [ends_poll, *waiting]


async def _nothing_begun(tasks: TaskClient, waiting: list[str]) -> None:
    for task_id in waiting:
        task = await tasks.look(task_id)
        if task["status"] != "PENDING":
            raise Failed(f"Task {task_id} is {task['status']} although no worker runs.")


async def scaling(context: ProofContext, tasks: TaskClient, waiting: list[str]) -> None:
    """From 0 to 3 workers for the `waiting` tasks, and to 0 again in the middle of the work."""
    async with context.proof("0 → 3 → 0 → 1 workers, and no task is lost") as told:
        context.order_workers(MOST_WORKERS)
        await tasks.completed(waiting)
        await context.player.steady(context.worker)
        context.images.hold()
        leaving = [await tasks.submit(context.images.held_url()) for _ in range(MOST_WORKERS)]
        leaving += [await tasks.submit(context.images.url()) for _ in range(BURST)]
        context.order_workers(0)
        scheduler = context.player.scheduler(context.worker)
        await context.changes.until(lambda: all(task.told_to_stop for task in scheduler.tasks))
        context.images.release()
        # Those that leave have up to their stop timeout; a new one need not wait for that.
        context.order_workers(1)
        await tasks.completed(leaving)
        context.report.figures.tasksCompleted += len(waiting) + len(leaving)
        told.append(f"{len(waiting) + len(leaving)} tasks are COMPLETED.")


async def farewells(context: ProofContext) -> None:
    """Every task that has ended by now was told to, and did it well and in time."""
    async with context.proof("Whatever ended was told to, and ended well") as told:
        await context.player.steady(context.worker)
        counts = []
        for service in (context.api, context.worker):
            scheduler = context.player.scheduler(service)
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
