"""The reconciler sends missing messages, each of them once."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import urllib3

from services.common.clock import utc_now
from services.common.task_record import from_rfc3339
from testbed.endpoints import Endpoints
from testbed.fault_proxy import AwsCall, FaultProxy, Reply
from testbed.waiting import wait_until
from tests.flow.deployments import FIRST_CHECK, LoopbackAws, run_system
from tests.flow.held_call import SEND_MESSAGE, HeldCall
from tests.flow.source import FlowSource, png
from tests.flow.system import DeployedSystem
from tests.worker.fetching.loopback_source import ok

UNSENT_TASKS = 10


def test_a_task_is_completed_although_the_api_died_before_it_sent_the_message(
    api_only: DeployedSystem, aws: LoopbackAws, source: FlowSource
) -> None:
    submission = {"inputImageUrl": source.url(ok(png()))}
    with (
        HeldCall(aws.endpoints, SEND_MESSAGE, before_execution=True) as call,
        ThreadPoolExecutor(1) as executor,
    ):
        api = api_only.fleet.start_api(endpoints=call.endpoints)
        api_only.fleet.wait_until_ready()
        interrupted = executor.submit(api_only.client.submit, submission, idempotency_key="once")
        call.wait_until_held()
        api.kill()
        with pytest.raises(urllib3.exceptions.HTTPError):
            interrupted.result()
    api_only.fleet.start_api()
    api_only.fleet.wait_until_ready()

    repeated = api_only.client.submit(submission, idempotency_key="once")
    assert repeated.headers["Idempotent-Replayed"] == "true"
    task = repeated.body
    assert (task["status"], api_only.message_count()) == ("PENDING", 0)

    wait_until_due(api_only, task["taskId"])
    reconcile(api_only)
    api_only.fleet.start_worker()
    assert api_only.wait_until_final(task["taskId"])["status"] == "COMPLETED"
    api_only.wait_until_queue_is_empty()


def test_two_concurrent_reconcilers_send_each_message_once(
    aws: LoopbackAws, source: FlowSource, tmp_path: Path
) -> None:
    url = source.url(ok(png()))
    with (
        queue_that_rejects_messages(aws) as rejecting,
        run_system(aws, source, tmp_path, prefix="unsent", api_endpoints=rejecting) as system,
    ):
        responses = [system.client.submit({"inputImageUrl": url}) for _ in range(UNSENT_TASKS)]
        assert {response.status for response in responses} == {202}
        assert system.message_count() == 0

        task_ids = [response.body["taskId"] for response in responses]
        wait_until_due(system, task_ids[-1])
        reconcile(system, processes=2)
        assert system.message_count() == UNSENT_TASKS

        system.fleet.start_worker()
        assert {system.wait_until_final(task_id)["status"] for task_id in task_ids} == {"COMPLETED"}
        system.wait_until_queue_is_empty()


def test_reconcilers_send_nothing_if_each_waiting_task_has_a_message(
    aws: LoopbackAws, source: FlowSource, tmp_path: Path
) -> None:
    url = source.url(ok(png()))
    with (
        run_system(aws, source, tmp_path, prefix="backlog") as system,
        ThreadPoolExecutor(8) as executor,
    ):
        task_ids = list(executor.map(system.submit, [url] * aws.max_backlog))
        assert system.message_count() == aws.max_backlog
        wait_until_due(system, task_ids[-1])
        reconcile(system, processes=2)
        assert system.message_count() == aws.max_backlog


def wait_until_due(system: DeployedSystem, task_id: str) -> None:
    """Wait until the reconciler may check the task for the first time."""
    due_at = from_rfc3339(system.task(task_id)["updatedAt"]) + FIRST_CHECK
    wait_until(lambda: utc_now() > due_at, "the task is due")


def reconcile(system: DeployedSystem, *, processes: int = 1) -> None:
    """Run reconcilers concurrently, and wait until all have exited with 0."""
    runs = [system.fleet.start_reconciler() for _ in range(processes)]
    assert [run.wait_for_exit() for run in runs] == [0] * processes


@contextmanager
def queue_that_rejects_messages(aws: LoopbackAws) -> Iterator[Endpoints]:
    with FaultProxy(aws.endpoints.sqs, fault_for=lambda _: reject_messages) as proxy:
        yield replace(aws.endpoints, sqs=proxy.url)


def reject_messages(call: AwsCall, forward: Callable[[], Reply]) -> Reply:
    if call.operation != "SendMessage":
        return forward()
    return Reply(
        403,
        b'{"__type": "com.amazonaws.sqs#AccessDeniedException", "message": "No."}',
        {"Content-Type": "application/x-amz-json-1.0"},
    )
