"""A service hangs while clients submit: each gets a response in time, and no task is lost."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from taskfleet.api_client import Response
from testbed.outage import HangingService
from tests.flow.deployments import LoopbackAws, run_system
from tests.flow.source import FlowSource, png
from tests.flow.system import DeployedSystem
from tests.flow.test_reconciler import reconcile
from tests.worker.fetching.loopback_source import ok

REQUEST_LIMIT_S = 25
"""The contract's limit on any request."""
CLIENTS = 10
SUBMISSIONS = 30


def submit_all(system: DeployedSystem, url: str) -> list[Response]:
    """Submit concurrently, each within the limit."""

    def submit(_: int) -> Response:
        started = time.monotonic()
        response = system.client.submit({"inputImageUrl": url})
        assert time.monotonic() - started < REQUEST_LIMIT_S
        return response

    with ThreadPoolExecutor(CLIENTS) as clients:
        return list(clients.map(submit, range(SUBMISSIONS)))


def test_tasks_submitted_while_the_queue_hangs_are_sent_and_completed_after_it(
    aws: LoopbackAws, source: FlowSource, tmp_path: Path
) -> None:
    with (
        HangingService(aws.endpoints.sqs) as sqs,
        run_system(
            aws,
            source,
            tmp_path,
            prefix="queue-outage",
            api_endpoints=replace(aws.endpoints, sqs=sqs.url),
        ) as system,
    ):
        with sqs.hanging():
            responses = submit_all(system, source.url(ok(png())))
        assert {response.status for response in responses} == {202}
        task_ids = [response.body["taskId"] for response in responses]
        assert system.row_count() == len(set(task_ids)) == SUBMISSIONS
        assert system.message_count() == 0

        reconcile(system)
        system.fleet.start_worker()
        assert {system.wait_until_final(task_id)["status"] for task_id in task_ids} == {"COMPLETED"}
        system.wait_until_queue_is_empty()


def test_submissions_while_the_table_hangs_fail_in_time_and_record_nothing(
    aws: LoopbackAws, source: FlowSource, tmp_path: Path
) -> None:
    with (
        HangingService(aws.endpoints.dynamodb) as dynamodb,
        run_system(
            aws,
            source,
            tmp_path,
            prefix="table-outage",
            api_endpoints=replace(aws.endpoints, dynamodb=dynamodb.url),
        ) as system,
    ):
        with dynamodb.hanging():
            responses = submit_all(system, source.url(ok(png())))
        assert {response.status for response in responses} == {503}
        assert all("Retry-After" in response.headers for response in responses)
        assert (system.row_count(), system.message_count()) == (0, 0)
        assert system.client.submit({"inputImageUrl": source.url(ok(png()))}).status == 201
