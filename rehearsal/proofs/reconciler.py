"""A task that was recorded but not queued is sent by the reconciler, run as its schedule says."""

from http import HTTPStatus

from rehearsal.ecs import eventbridge
from rehearsal.ecs.definitions import TaskDefinition
from rehearsal.failure import RehearsalFailed
from rehearsal.proof_context import ProofContext
from rehearsal.task_client import TaskClient

SEND = "sqs:SendMessage"
MAX_RUNS = 10
"""Several runs may be needed, because the index of open tasks is eventually consistent."""


async def submit_unsent(context: ProofContext, tasks: TaskClient) -> str:
    """Submit a task while the API cannot send messages. Returns the task's ID."""
    async with context.proof("A submission is answered with 202 while the queue is down"):
        role = context.control_plane.definition(context.api.task_definition_arn).task_role
        with context.authorizer.outage(role=role, action=SEND):
            return await tasks.submit(context.images.url(), expected=HTTPStatus.ACCEPTED)


async def reconcile(context: ProofContext, tasks: TaskClient, task_id: str) -> None:
    """Run the scheduled task until it has sent the unsent task."""
    async with context.proof("The scheduled reconciler sends the task, and it completes") as notes:
        schedule = eventbridge.read_schedule(context.clients)
        definition = context.control_plane.definition(schedule.task_definition_arn)
        runs = 0
        while not context.authorizer.has_used(definition.task_role, SEND):
            if runs == MAX_RUNS:
                raise RehearsalFailed(f"The reconciler has sent nothing in {runs} runs.")
            eventbridge.authorize_start(schedule, definition, context.authorizer)
            await _run(context, definition)
            runs += 1
        await tasks.wait_until_final(task_id, expected="COMPLETED")
        context.report.figures.tasksCompleted += 1
        notes.append(f"({schedule.expression}; runs needed: {runs})")


async def _run(context: ProofContext, definition: TaskDefinition) -> None:
    task = await context.launcher.launch(definition)
    try:
        exit_code = await task.container.wait()
    finally:
        await task.container.remove()
    if exit_code != 0:
        raise RehearsalFailed(
            f"The reconciler exited with {exit_code}.", details=tuple(task.last_lines())
        )
