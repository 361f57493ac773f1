"""Workers that are killed, stopped, frozen or cut off in mid-task: one result, and no lie."""

import pytest

from taskfleet.api_client import Task
from testbed.waiting import wait_until
from tests.flow.conftest import Engine
from tests.flow.flow import Flow
from tests.flow.held_call import CLAIM, COMPLETE, DELETE, PUT, HeldCall, Which
from tests.flow.source import Held, Source, png
from tests.worker.fetching.loopback_source import ok

FIRST, SECOND = png(color=(250, 250, 250)), png(color=(5, 5, 5))
"""Two images under one URL, so that it shows whose result it is."""


def test_a_killed_worker_s_task_is_completed_by_another(bare: Flow, source: Source) -> None:
    fetch = Held(ok(FIRST))
    task_id = bare.submit(source.url(fetch, ok(SECOND)))
    worker = bare.fleet.start_worker()
    fetch.wait_until_asked()
    worker.kill()
    assert bare.task(task_id)["status"] == "RUNNING"
    bare.fleet.start_worker()
    task = bare.when_over(task_id)
    assert (task["status"], task["attempt"]) == ("COMPLETED", 2)
    assert len(bare.stored_results(task_id)) == 1
    assert is_made_from(SECOND, bare, task_id)
    bare.when_queue_is_empty()


@pytest.mark.parametrize(
    ("which", "attempts"),
    [(CLAIM, 2), (PUT, 2), (COMPLETE, 1), (DELETE, 1)],
    ids=["claim", "put", "complete", "delete"],
)
def test_a_worker_killed_before_it_hears_that_its_call_succeeded(
    bare: Flow, engine: Engine, source: Source, which: Which, attempts: int
) -> None:
    """Which is also: killed before it could make its next call."""
    with HeldCall(engine.endpoints, which) as call:
        task_id = bare.submit(source.url(ok(FIRST)))
        worker = bare.fleet.start_worker(endpoints=call.endpoints)
        call.wait_until_held()
        worker.kill()
    bare.fleet.start_worker()
    task = bare.when_over(task_id)
    assert (task["status"], task["attempt"]) == ("COMPLETED", attempts)
    assert is_made_from(FIRST, bare, task_id)
    bare.when_queue_is_empty()


def test_a_frozen_worker_that_wakes_up_after_its_lease_changes_nothing(
    bare: Flow, source: Source
) -> None:
    fetch = Held(ok(FIRST))
    task_id = bare.submit(source.url(fetch, ok(SECOND)))
    sleeper = bare.fleet.start_worker()
    fetch.wait_until_asked()
    sleeper.freeze()
    other = bare.fleet.start_worker()
    completed = bare.when_over(task_id)
    assert completed["attempt"] == 2
    other.terminate()  # so that what happens from here on is the sleeper's doing
    assert other.wait_for_exit() == 0
    fetch.let_go()
    sleeper.thaw()
    wait_until(
        lambda: "attempt discarded" in sleeper.output(), "the sleeper has discarded its attempt"
    )
    assert lasting(bare.task(task_id)) == lasting(completed)
    assert is_made_from(SECOND, bare, task_id)


def test_a_completion_that_arrives_after_the_lease_was_lost_changes_nothing(
    bare: Flow, engine: Engine, source: Source
) -> None:
    """As of a worker that was frozen, or cut off, between its last check and its last write."""
    url = source.url(ok(FIRST), ok(SECOND))
    with HeldCall(engine.endpoints, COMPLETE, before=True) as call:
        task_id = bare.submit(url)
        late = bare.fleet.start_worker(endpoints=call.endpoints)
        call.wait_until_held()
        late.freeze()
        bare.fleet.start_worker()
        completed = bare.when_over(task_id)
        assert completed["attempt"] == 2
        late.thaw()
        call.let_go()
        wait_until(
            lambda: "attempt discarded" in late.output(),
            "the late worker has discarded its attempt",
        )
    assert len(bare.stored_results(task_id)) == 2
    assert lasting(bare.task(task_id)) == lasting(completed)
    assert is_made_from(SECOND, bare, task_id)


def test_sigterm_lets_a_task_finish(bare: Flow, source: Source) -> None:
    fetch = Held(ok(FIRST))
    task_id = bare.submit(source.url(fetch))
    worker = bare.fleet.start_worker(STOP_TIMEOUT_S="60")
    fetch.wait_until_asked()
    worker.terminate()
    wait_until(lambda: "worker draining" in worker.output(), "the worker drains")
    fetch.let_go()
    assert worker.wait_for_exit() == 0
    task = bare.task(task_id)
    assert (task["status"], task["attempt"]) == ("COMPLETED", 1)
    assert bare.messages() == 0


def test_sigterm_puts_a_task_back_that_cannot_finish(bare: Flow, source: Source) -> None:
    task_id = bare.submit(source.url(Held(ok(FIRST)), ok(SECOND)))
    # A lease so long that who had to wait for its end would be noticed.
    worker = bare.fleet.start_worker(STOP_TIMEOUT_S="1", LEASE_S="600")
    wait_until(lambda: bare.task(task_id)["status"] == "RUNNING", "the task is under way")
    worker.terminate()
    assert worker.wait_for_exit() == 0
    queued = bare.queued()
    assert (queued.visible, queued.in_flight) == (1, 0)
    bare.fleet.start_worker()
    task = bare.when_over(task_id)
    assert (task["status"], task["attempt"]) == ("COMPLETED", 2)
    bare.when_queue_is_empty()


def is_made_from(image: bytes, flow: Flow, task_id: str) -> bool:
    """Whether the result is as light or dark as the only color of `image`."""
    result = flow.image(flow.task(task_id))
    return result.getpixel((0, 0)) == {FIRST: 250, SECOND: 5}[image]


def lasting(task: Task) -> Task:
    """Without the URL, which is signed anew each time."""
    return {name: value for name, value in task.items() if name != "resultUrl"}
