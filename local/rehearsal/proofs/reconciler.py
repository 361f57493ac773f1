"""What was recorded but not queued is sent by the reconciler, run as its schedule says."""

from http import HTTPStatus

from local.rehearsal.ecs import schedule as scheduler
from local.rehearsal.ecs.definitions import TaskDefinition
from local.rehearsal.failure import Failed
from local.rehearsal.stage import Stage
from local.rehearsal.tasks import TaskClient

SEND = "sqs:SendMessage"
MOST_RUNS = 10
"""The row is due some seconds after its submission (UNSENT_CHECK_S)."""


async def submit_unsent(stage: Stage, tasks: TaskClient) -> str:
    """Submit while the queue does not take messages from the API; returns the task's id."""
    async with stage.proof("With the queue down, a task is recorded all the same: 202"):
        role = stage.player.definition(stage.api.task_definition_arn).task_role
        with stage.gate.outage(role=role, action=SEND):
            return await tasks.submit(stage.pictures.url(), expected=HTTPStatus.ACCEPTED)


async def reconcile(stage: Stage, tasks: TaskClient, task_id: str) -> None:
    """Run the schedule's task until the unsent task has been sent."""
    async with stage.proof("The reconciler, run by its schedule's role, gets it done") as told:
        schedule = scheduler.read_schedule(stage.clients)
        definition = stage.player.definition(schedule.task_definition_arn)
        runs = 0
        while not stage.gate.has_done(definition.task_role, SEND):
            if runs == MOST_RUNS:
                raise Failed(f"After {runs} runs the reconciler has sent nothing.")
            scheduler.permit_start(schedule, definition, stage.gate)
            await _run(stage, definition)
            runs += 1
        await tasks.over(task_id, status="COMPLETED")
        stage.report.figures.tasksCompleted += 1
        told.append(f"({schedule.expression}, {runs} runs)")


async def _run(stage: Stage, definition: TaskDefinition) -> None:
    task = await stage.launcher.launch(definition)
    try:
        exit_code = await task.container.wait()
    finally:
        await task.container.remove()
    if exit_code != 0:
        raise Failed(
            f"The reconciler ended with exit code {exit_code}.", details=tuple(task.last_lines())
        )
