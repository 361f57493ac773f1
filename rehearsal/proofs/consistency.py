"""Compares deployed settings that must match, before any container starts.

The settings class enforces the same rules at synthesis; this reads what was deployed.
"""

from collections.abc import Iterator

from rehearsal.ecs.definitions import TaskDefinition
from rehearsal.failure import RehearsalFailed
from rehearsal.proof_context import ProofContext


def check(context: ProofContext) -> None:
    """Raises ``RehearsalFailed`` with every mismatch."""
    with context.report.step("Queue, environment and timeouts match"):
        worker = context.control_plane.definition(context.worker.task_definition_arn)
        api = context.control_plane.definition(context.api.task_definition_arn)
        visibility_s = int(
            context.clients.sqs.get_queue_attributes(
                QueueUrl=context.deployment.output("state", "TaskQueueUrl"),
                AttributeNames=["VisibilityTimeout"],
            )["Attributes"]["VisibilityTimeout"]
        )
        mismatches = [*_worker_mismatches(worker, visibility_s), *_api_mismatches(context, api)]
        if mismatches:
            raise RehearsalFailed(" ".join(mismatches))


def _worker_mismatches(worker: TaskDefinition, visibility_s: int) -> Iterator[str]:
    lease_s, heartbeat_s, budget_s = (
        _number(worker, name) for name in ("LEASE_S", "HEARTBEAT_INTERVAL_S", "PROCESSING_BUDGET_S")
    )
    if visibility_s != lease_s:
        yield (
            f"The queue's visibility timeout is {visibility_s} s, but a task's lease is "
            f"{lease_s:g} s (LEASE_S): a running task would be received again."
        )
    if visibility_s < 2 * heartbeat_s:
        yield (
            f"The queue's visibility timeout is {visibility_s} s, but workers extend it only every "
            f"{heartbeat_s:g} s (HEARTBEAT_INTERVAL_S): one late heartbeat loses the task within "
            f"its budget of {budget_s:g} s."
        )
    if budget_s >= worker.stop_timeout_s:
        yield (
            f"An attempt may take {budget_s:g} s (PROCESSING_BUDGET_S), but a stopping worker is "
            f"killed after {worker.stop_timeout_s} s."
        )


def _api_mismatches(context: ProofContext, api: TaskDefinition) -> Iterator[str]:
    graceful_s = _number(api, "API_STOP_TIMEOUT_S")
    if graceful_s >= api.stop_timeout_s:
        yield (
            f"A stopping API finishes requests for up to {graceful_s:g} s (API_STOP_TIMEOUT_S), "
            f"but is killed after {api.stop_timeout_s} s."
        )
    port = context.api.target_port
    if _number(api, "API_PORT") != port or api.port != port:
        yield f"The load balancer sends requests to port {port}, on which the API does not listen."


def _number(definition: TaskDefinition, name: str) -> float:
    """A number from the environment. Raises ``RehearsalFailed`` if it is missing."""
    if name not in definition.environment:
        raise RehearsalFailed(f"The environment of {definition.family} does not contain {name}.")
    return float(definition.environment[name])
