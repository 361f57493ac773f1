"""Workers that are killed, stopped, frozen or cut off during a task: one result counts."""

import os
import signal

import pytest

from taskfleet.api_client import TaskBody
from testbed.waiting import wait_until
from tests.flow.deployments import LoopbackAws
from tests.flow.held_call import (
    CLAIM,
    COMPLETE,
    DELETE_MESSAGE,
    PUT_RESULT,
    CallPattern,
    HeldCall,
)
from tests.flow.source import FlowSource, HeldResponder, png
from tests.flow.system import DeployedSystem
from tests.worker.fetching.loopback_source import ok

FIRST_IMAGE, SECOND_IMAGE = png(color=(250, 250, 250)), png(color=(5, 5, 5))
"""Two images under one URL, so that the result shows which fetch it comes from."""


def test_a_killed_worker_s_task_is_completed_by_another(
    api_only: DeployedSystem, source: FlowSource
) -> None:
    fetch = HeldResponder(ok(FIRST_IMAGE))
    task_id = api_only.submit(source.url(fetch, ok(SECOND_IMAGE)))
    worker = api_only.fleet.start_worker()
    fetch.wait_until_requested()
    worker.kill()
    assert api_only.task(task_id)["status"] == "RUNNING"
    api_only.fleet.start_worker()
    task = api_only.wait_until_final(task_id)
    assert (task["status"], task["attempt"]) == ("COMPLETED", 2)
    assert len(api_only.stored_results(task_id)) == 1
    assert is_made_from(SECOND_IMAGE, api_only, task_id)
    api_only.wait_until_queue_is_empty()


def test_a_task_of_a_consumer_that_dies_is_completed_by_the_one_that_replaces_it(
    api_only: DeployedSystem, source: FlowSource
) -> None:
    fetch = HeldResponder(ok(FIRST_IMAGE))
    task_id = api_only.submit(source.url(fetch, ok(SECOND_IMAGE)))
    worker = api_only.fleet.start_worker()
    fetch.wait_until_requested()
    [consumer] = worker.consumers()
    consumer.kill()
    task = api_only.wait_until_final(task_id)
    assert (task["status"], task["attempt"]) == ("COMPLETED", 2)
    assert is_made_from(SECOND_IMAGE, api_only, task_id)
    assert worker.is_running()
    api_only.wait_until_queue_is_empty()


def test_a_consumer_whose_supervisor_dies_finishes_its_task_and_stops(
    api_only: DeployedSystem, source: FlowSource
) -> None:
    """Otherwise it would keep working on a machine where nothing can stop it."""
    fetch = HeldResponder(ok(FIRST_IMAGE))
    task_id = api_only.submit(source.url(fetch))
    worker = api_only.fleet.start_worker(STOP_TIMEOUT_S="60")
    fetch.wait_until_requested()
    [consumer] = worker.consumers()
    os.kill(worker.pid, signal.SIGKILL)
    wait_until(lambda: "worker draining" in worker.output(), "the consumer drains")
    fetch.release()
    task = api_only.wait_until_final(task_id)
    assert (task["status"], task["attempt"]) == ("COMPLETED", 1)
    wait_until(lambda: not consumer.is_running(), "the consumer has stopped")
    api_only.wait_until_queue_is_empty()


def test_every_consumer_drains_after_sigterm(api_only: DeployedSystem, source: FlowSource) -> None:
    fetches = [HeldResponder(ok(FIRST_IMAGE)) for _ in range(4)]
    task_ids = [api_only.submit(source.url(fetch)) for fetch in fetches]
    worker = api_only.fleet.start_worker(WORKER_VCPUS="2", STOP_TIMEOUT_S="60")
    for fetch in fetches:
        fetch.wait_until_requested()
    worker.terminate()
    wait_until(lambda: worker.output().count("worker draining") == 2, "both consumers drain")
    for fetch in fetches:
        fetch.release()
    assert worker.wait_for_exit() == 0
    tasks = [api_only.task(task_id) for task_id in task_ids]
    assert {(task["status"], task["attempt"]) for task in tasks} == {("COMPLETED", 1)}
    assert api_only.message_count() == 0


@pytest.mark.parametrize(
    ("pattern", "attempts"),
    [(CLAIM, 2), (PUT_RESULT, 2), (COMPLETE, 1), (DELETE_MESSAGE, 1)],
    ids=["claim", "put", "complete", "delete"],
)
def test_a_task_is_completed_if_its_worker_dies_after_a_call_and_before_the_response(
    api_only: DeployedSystem,
    aws: LoopbackAws,
    source: FlowSource,
    pattern: CallPattern,
    attempts: int,
) -> None:
    """Also covers a worker that dies before its next call."""
    with HeldCall(aws.endpoints, pattern) as call:
        task_id = api_only.submit(source.url(ok(FIRST_IMAGE)))
        worker = api_only.fleet.start_worker(endpoints=call.endpoints)
        call.wait_until_held()
        worker.kill()
    api_only.fleet.start_worker()
    task = api_only.wait_until_final(task_id)
    assert (task["status"], task["attempt"]) == ("COMPLETED", attempts)
    assert is_made_from(FIRST_IMAGE, api_only, task_id)
    api_only.wait_until_queue_is_empty()


def test_a_worker_that_thaws_after_its_lease_changes_nothing(
    api_only: DeployedSystem, source: FlowSource
) -> None:
    fetch = HeldResponder(ok(FIRST_IMAGE))
    task_id = api_only.submit(source.url(fetch, ok(SECOND_IMAGE)))
    frozen = api_only.fleet.start_worker()
    fetch.wait_until_requested()
    frozen.freeze()
    other = api_only.fleet.start_worker()
    completed = api_only.wait_until_final(task_id)
    assert completed["attempt"] == 2
    # Only the thawed worker can cause changes from here on.
    other.terminate()
    assert other.wait_for_exit() == 0
    fetch.release()
    frozen.thaw()
    wait_until(
        lambda: "attempt discarded" in frozen.output(),
        "the thawed worker has discarded its attempt",
    )
    assert without_url(api_only.task(task_id)) == without_url(completed)
    assert is_made_from(SECOND_IMAGE, api_only, task_id)


def test_a_completion_after_the_lease_changes_nothing(
    api_only: DeployedSystem, aws: LoopbackAws, source: FlowSource
) -> None:
    """The worker is frozen, or cut off, between its last check and its last write."""
    url = source.url(ok(FIRST_IMAGE), ok(SECOND_IMAGE))
    with HeldCall(aws.endpoints, COMPLETE, before_execution=True) as call:
        task_id = api_only.submit(url)
        late = api_only.fleet.start_worker(endpoints=call.endpoints)
        call.wait_until_held()
        late.freeze()
        api_only.fleet.start_worker()
        completed = api_only.wait_until_final(task_id)
        assert completed["attempt"] == 2
        late.thaw()
        call.release()
        wait_until(
            lambda: "attempt discarded" in late.output(),
            "the late worker has discarded its attempt",
        )
    assert api_only.stored_results(task_id) == [f"results/{task_id}/2.png"]
    assert without_url(api_only.task(task_id)) == without_url(completed)
    assert is_made_from(SECOND_IMAGE, api_only, task_id)


def test_a_worker_finishes_its_task_after_sigterm(
    api_only: DeployedSystem, source: FlowSource
) -> None:
    fetch = HeldResponder(ok(FIRST_IMAGE))
    task_id = api_only.submit(source.url(fetch))
    worker = api_only.fleet.start_worker(STOP_TIMEOUT_S="60")
    fetch.wait_until_requested()
    worker.terminate()
    wait_until(lambda: "worker draining" in worker.output(), "the worker drains")
    fetch.release()
    assert worker.wait_for_exit() == 0
    task = api_only.task(task_id)
    assert (task["status"], task["attempt"]) == ("COMPLETED", 1)
    assert api_only.message_count() == 0


def test_a_worker_returns_a_task_that_it_cannot_finish_after_sigterm(
    api_only: DeployedSystem, source: FlowSource
) -> None:
    task_id = api_only.submit(source.url(HeldResponder(ok(FIRST_IMAGE)), ok(SECOND_IMAGE)))
    # The lease is long, so the test fails if another worker must wait for its end.
    worker = api_only.fleet.start_worker(STOP_TIMEOUT_S="1", LEASE_S="600")
    wait_until(lambda: api_only.task(task_id)["status"] == "RUNNING", "the task is running")
    worker.terminate()
    assert worker.wait_for_exit() == 0
    backlog = api_only.backlog()
    assert (backlog.visible, backlog.in_flight) == (1, 0)
    api_only.fleet.start_worker()
    task = api_only.wait_until_final(task_id)
    assert (task["status"], task["attempt"]) == ("COMPLETED", 2)
    api_only.wait_until_queue_is_empty()


def is_made_from(image: bytes, system: DeployedSystem, task_id: str) -> bool:
    """Whether the result has the brightness of `image`."""
    result = system.result_image(system.task(task_id))
    return result.getpixel((0, 0)) == {FIRST_IMAGE: 250, SECOND_IMAGE: 5}[image]


def without_url(task: TaskBody) -> TaskBody:
    """The task without `resultUrl`, which differs in every response."""
    return {name: value for name, value in task.items() if name != "resultUrl"}
