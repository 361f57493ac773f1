"""Tasks whose message was lost: the reconciler gets them done, and sends no message too many."""

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
from tests.flow.conftest import FIRST_CHECK, Engine, flowing
from tests.flow.flow import Flow
from tests.flow.held_call import SEND, HeldCall
from tests.flow.source import Source, png
from tests.worker.fetching.loopback_source import ok

UNQUEUED = 10


def test_an_api_killed_between_row_and_message(bare: Flow, engine: Engine, source: Source) -> None:
    submission = {"inputImageUrl": source.url(ok(png()))}
    with HeldCall(engine.endpoints, SEND, before=True) as call, ThreadPoolExecutor(1) as user:
        api = bare.fleet.start_api(endpoints=call.endpoints)
        bare.fleet.wait_until_ready()
        broken_off = user.submit(bare.client.submit, submission, idempotency_key="once")
        call.wait_until_held()
        api.kill()
        with pytest.raises(urllib3.exceptions.HTTPError):
            broken_off.result()
    bare.fleet.start_api()
    bare.fleet.wait_until_ready()

    repeated = bare.client.submit(submission, idempotency_key="once")
    assert repeated.headers["Idempotent-Replayed"] == "true"
    task = repeated.body
    assert (task["status"], bare.messages()) == ("PENDING", 0)

    when_due(bare, task["taskId"])
    reconcile(bare)
    bare.fleet.start_worker()
    assert bare.when_over(task["taskId"])["status"] == "COMPLETED"
    bare.when_queue_is_empty()


def test_two_reconcilers_at_once_send_each_message_once(
    engine: Engine, source: Source, tmp_path: Path
) -> None:
    url = source.url(ok(png()))
    with (
        queue_that_refuses(engine) as refusing,
        flowing(engine, source, tmp_path, prefix="unqueued", api_endpoints=refusing) as flow,
    ):
        answers = [flow.client.submit({"inputImageUrl": url}) for _ in range(UNQUEUED)]
        assert {answer.status for answer in answers} == {202}
        assert flow.messages() == 0

        task_ids = [answer.body["taskId"] for answer in answers]
        when_due(flow, task_ids[-1])
        reconcile(flow, at_once=2)
        assert flow.messages() == UNQUEUED

        flow.fleet.start_worker()
        assert {flow.when_over(task_id)["status"] for task_id in task_ids} == {"COMPLETED"}
        flow.when_queue_is_empty()


def test_a_backlog_is_never_multiplied(engine: Engine, source: Source, tmp_path: Path) -> None:
    url = source.url(ok(png()))
    most = str(engine.backlog // 2)
    with (
        flowing(engine, source, tmp_path, prefix="backlog", RECONCILE_MAX_BACKLOG=most) as flow,
        ThreadPoolExecutor(8) as users,
    ):
        task_ids = list(users.map(flow.submit, [url] * engine.backlog))
        assert flow.messages() == engine.backlog
        when_due(flow, task_ids[-1])
        reconcile(flow, at_once=2)
        assert flow.messages() == engine.backlog


def when_due(flow: Flow, task_id: str) -> None:
    """Wait until the reconciler may look at the task for the first time."""
    due_at = from_rfc3339(flow.task(task_id)["updatedAt"]) + FIRST_CHECK
    wait_until(lambda: utc_now() > due_at, "the task is due")


def reconcile(flow: Flow, *, at_once: int = 1) -> None:
    runs = [flow.fleet.start_reconciler() for _ in range(at_once)]
    assert [run.wait_for_exit() for run in runs] == [0] * at_once


@contextmanager
def queue_that_refuses(engine: Engine) -> Iterator[Endpoints]:
    """Endpoints of an AWS whose queue takes no message."""
    with FaultProxy(engine.endpoints.sqs, fault_for=lambda _: refuse) as proxy:
        yield replace(engine.endpoints, sqs=proxy.url)


def refuse(call: AwsCall, forward: Callable[[], Reply]) -> Reply:
    if call.operation != "SendMessage":
        return forward()
    return Reply(
        403,
        b'{"__type": "com.amazonaws.sqs#AccessDeniedException", "message": "No."}',
        {"Content-Type": "application/x-amz-json-1.0"},
    )
