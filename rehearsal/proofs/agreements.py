"""What the deployed parts must agree on, compared before anything is started.

The settings class refuses the same at synthesis; this looks at what was deployed.
"""

from collections.abc import Iterator

from rehearsal.ecs.definitions import TaskDefinition
from rehearsal.failure import Failed
from rehearsal.proof_context import ProofContext


def agree(context: ProofContext) -> None:
    """Raises ``Failed`` with everything that is at odds."""
    with context.report.step("Queue, environment and timeouts agree with each other"):
        worker = context.player.definition(context.worker.task_definition_arn)
        api = context.player.definition(context.api.task_definition_arn)
        visibility_s = int(
            context.clients.sqs.get_queue_attributes(
                QueueUrl=context.deployment.output("state", "TaskQueueUrl"),
                AttributeNames=["VisibilityTimeout"],
            )["Attributes"]["VisibilityTimeout"]
        )
        wrong = [*_worker(worker, visibility_s), *_api(context, api)]
        if wrong:
            raise Failed(" ".join(wrong))


def _worker(worker: TaskDefinition, visibility_s: int) -> Iterator[str]:
    lease_s, heartbeat_s, budget_s = (
        _told(worker, name) for name in ("LEASE_S", "HEARTBEAT_INTERVAL_S", "PROCESSING_BUDGET_S")
    )
    if visibility_s != lease_s:
        yield (
            f"The queue hides a message for {visibility_s} s, and the lease on its task is "
            f"{lease_s:g} s (LEASE_S): a running task would be received again."
        )
    if visibility_s < 2 * heartbeat_s:
        yield (
            f"The queue hides a message for {visibility_s} s, and a worker prolongs that every "
            f"{heartbeat_s:g} s only (HEARTBEAT_INTERVAL_S): one late heartbeat loses the task "
            f"within its budget of {budget_s:g} s."
        )
    if budget_s >= worker.stop_timeout_s:
        yield (
            f"An attempt may take {budget_s:g} s (PROCESSING_BUDGET_S), and a leaving worker is "
            f"killed after {worker.stop_timeout_s} s."
        )


def _api(context: ProofContext, api: TaskDefinition) -> Iterator[str]:
    graceful_s = _told(api, "API_STOP_TIMEOUT_S")
    if graceful_s >= api.stop_timeout_s:
        yield (
            f"The API finishes requests for {graceful_s:g} s (API_STOP_TIMEOUT_S), and is killed "
            f"after {api.stop_timeout_s} s."
        )
    port = context.api.target_port
    if _told(api, "API_PORT") != port or api.port != port:
        yield f"The load balancer sends to port {port}, where the API does not listen."


def _told(definition: TaskDefinition, name: str) -> float:
    """A number of the environment; raises ``Failed`` where it is missing."""
    if name not in definition.environment:
        raise Failed(f"The containers of {definition.family} are not told {name}.")
    return float(definition.environment[name])
