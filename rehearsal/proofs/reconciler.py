"""What was recorded but not queued is sent by the reconciler, run as its schedule says."""

from http import HTTPStatus

from rehearsal.ecs import eventbridge
from rehearsal.ecs.definitions import TaskDefinition
from rehearsal.failure import Failed
from rehearsal.proof_context import ProofContext
from rehearsal.task_client import TaskClient

SEND = "sqs:SendMessage"
MOST_RUNS = 10
"""The row is due some seconds after its submission (UNSENT_CHECK_S)."""


async def submit_unsent(context: ProofContext, tasks: TaskClient) -> str:
    """Submit while the queue does not take messages from the API; returns the task's id."""
    async with context.proof("With the queue down, a task is recorded all the same: 202"):
        role = context.player.definition(context.api.task_definition_arn).task_role
        with context.gate.outage(role=role, action=SEND):
            return await tasks.submit(context.images.url(), expected=HTTPStatus.ACCEPTED)


async def reconcile(context: ProofContext, tasks: TaskClient, task_id: str) -> None:
    """Run the schedule's task until the unsent task has been sent."""
    async with context.proof("The reconciler, run by its schedule's role, gets it done") as told:
        schedule = eventbridge.read_schedule(context.clients)
        definition = context.player.definition(schedule.task_definition_arn)
        runs = 0
        while not context.gate.has_done(definition.task_role, SEND):
            if runs == MOST_RUNS:
                raise Failed(f"After {runs} runs the reconciler has sent nothing.")
            eventbridge.permit_start(schedule, definition, context.gate)
            await _run(context, definition)
            runs += 1
        await tasks.over(task_id, status="COMPLETED")
        context.report.figures.tasksCompleted += 1
        told.append(f"({schedule.expression}, {runs} runs)")


async def _run(context: ProofContext, definition: TaskDefinition) -> None:
    task = await context.launcher.launch(definition)
    try:
        exit_code = await task.container.wait()
    finally:
        await task.container.remove()
    if exit_code != 0:
        raise Failed(
            f"The reconciler ended with exit code {exit_code}.", details=tuple(task.last_lines())
        )
