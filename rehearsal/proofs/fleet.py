"""Workers start, drain and stop without losing a task."""

from rehearsal.failure import RehearsalFailed
from rehearsal.proof_context import ProofContext
from rehearsal.task_client import TaskClient

BURST = 24
"""Tasks that wait while no worker runs."""
MAX_WORKERS = 3

DRAINING = "worker draining"
"""The log message of a worker that has stopped receiving."""


async def drain(context: ProofContext, tasks: TaskClient) -> list[str]:
    """Stop the only worker during a task. Returns the IDs of tasks that no worker has started."""
    async with context.proof("A worker that gets SIGTERM finishes its task and receives no more"):
        context.set_worker_count(1)
        await context.control_plane.wait_until_steady(context.worker)
        (worker,) = context.control_plane.scheduler(context.worker).tasks
        context.images.hold()
        task_id = await tasks.submit(context.images.held_url())
        await context.images.wait_until_held(1)
        context.set_worker_count(0)
        await context.changes.wait_for(lambda: worker.stop_signal_sent)
        # This message ends the worker's current long poll. The poll may have started after the
        # stop signal was sent, since the signal passes through the container's init process.
        ends_poll = await tasks.submit(context.images.url())
        await worker.wait_for_output(DRAINING)
        waiting = [await tasks.submit(context.images.url()) for _ in range(BURST - 1)]
        context.images.release()
        task = await tasks.wait_until_final(task_id, expected="COMPLETED")
        if task["attempt"] != 1:
            raise RehearsalFailed(f"The task took {task['attempt']} attempts.")
        await context.control_plane.wait_until_steady(context.worker)
        await _check_pending(tasks, waiting)
        context.report.figures.tasksCompleted += 1
    return [ends_poll, *waiting]


async def _check_pending(tasks: TaskClient, task_ids: list[str]) -> None:
    for task_id in task_ids:
        task = await tasks.get(task_id)
        if task["status"] != "PENDING":
            raise RehearsalFailed(f"Task {task_id} is {task['status']} although no worker runs.")


async def scaling(context: ProofContext, tasks: TaskClient, waiting: list[str]) -> None:
    """Scale from 0 to 3 workers for the `waiting` tasks, and to 0 while they process others."""
    async with context.proof("0 → 3 → 0 → 1 workers lose no task") as notes:
        context.set_worker_count(MAX_WORKERS)
        await tasks.wait_until_completed(waiting)
        await context.control_plane.wait_until_steady(context.worker)
        context.images.hold()
        interrupted = [await tasks.submit(context.images.held_url()) for _ in range(MAX_WORKERS)]
        interrupted += [await tasks.submit(context.images.url()) for _ in range(BURST)]
        context.set_worker_count(0)
        scheduler = context.control_plane.scheduler(context.worker)
        await context.changes.wait_for(
            lambda: all(worker.stop_signal_sent for worker in scheduler.tasks)
        )
        context.images.release()
        # A new worker can start before the old ones have used up their stop timeout.
        context.set_worker_count(1)
        await tasks.wait_until_completed(interrupted)
        completed = len(waiting) + len(interrupted)
        context.report.figures.tasksCompleted += completed
        notes.append(f"{completed} tasks are COMPLETED.")


async def clean_exits(context: ProofContext) -> None:
    """No container has exited by itself, or with an exit code other than 0."""
    async with context.proof("Containers exit only when stopped, and with exit code 0") as notes:
        await context.control_plane.wait_until_steady(context.worker)
        counts = []
        for service in (context.api, context.worker):
            scheduler = context.control_plane.scheduler(service)
            for crash in scheduler.crashes:
                raise crash
            for task, exit_code in scheduler.stopped:
                if exit_code != 0:
                    raise RehearsalFailed(
                        f"{task.name} was stopped and exited with {exit_code}.",
                        details=tuple(task.last_lines()),
                    )
            counts.append(len(scheduler.stopped))
        notes.append(f"{counts[0]} containers of the API, {counts[1]} of the worker.")
