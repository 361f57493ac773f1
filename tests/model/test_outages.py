"""Outages of an hour, in simulated time: they fail no task and need no operator.

The worker goes on receiving all the time, which is the worst case: a deployed one stops its intake
while the table or the bucket does not respond. All limits are the defaults.
"""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from services.common.config import ExecutionConfig
from services.common.task import Status
from tests.model.actor import Actor, CallOutcome
from tests.model.invariants import QUEUE_URL
from tests.model.world import AttemptOutcome, World
from tests.tasks import BACKOFF, LEASE, LIMITS

STEP = timedelta(seconds=15)
RECONCILE_INTERVAL = timedelta(minutes=5)
RECOVERY = BACKOFF.cap + 2 * RECONCILE_INTERVAL + LEASE
"""The longest wait, and two runs of the reconciler."""
TASKS_PER_MINUTE = 1
WAITING_TASKS = 10

TABLE = {"put_item", "update_item", "get_item", "batch_get_item"}
QUEUE = {
    "send_message",
    "send_message_batch",
    "receive_message",
    "delete_message",
    "change_message_visibility",
    "get_queue_attributes",
}
BUCKET = {"put_object", "delete_object"}
SOURCE = {"fetch"}
OUTAGES = {
    "table": TABLE,
    "queue": QUEUE,
    "bucket": BUCKET,
    "table and queue": TABLE | QUEUE,
    "table and bucket": TABLE | BUCKET,
    "queue and bucket": QUEUE | BUCKET,
    "source": SOURCE,
    "source and queue": SOURCE | QUEUE,
    "source and bucket": SOURCE | BUCKET,
    "source and table": SOURCE | TABLE,
}


class Simulation:
    """Clients, a worker and a reconciler, which run in turns. Calls in `down` fail."""

    def __init__(self, scratch: Path) -> None:
        self.world = World(scratch, outdated_receipts_work=False)
        self.down: set[str] = set()
        self._in_progress: Actor | None = None
        self._next_run = self.world.clock.now
        self._next_submission = self.world.clock.now

    def run_until(self, end: datetime, *, submits: bool) -> None:
        while self.world.clock.now < end:
            now = self.world.clock.now
            if submits and now >= self._next_submission:
                self._next_submission = now + timedelta(minutes=1) / TASKS_PER_MINUTE
                self._finish(self.world.submit(None))
            if now >= self._next_run:
                self._next_run = now + RECONCILE_INTERVAL
                self._finish(self.world.reconcile())
            self._work()
            self.world.invariants.check()
            self.world.clock.advance(STEP)

    def leave_work_in_progress(self) -> None:
        """Submit tasks of which one is claimed, and the others wait in the queue."""
        for _ in range(WAITING_TASKS):
            self._finish(self.world.submit(None))
        self._in_progress = self.world.receive(self.world.workers[1])
        while self._in_progress.pending_call != "fetch":
            self.world.step(self._in_progress, CallOutcome.SUCCEEDS)

    def _work(self) -> None:
        """Receive once for each message that is visible now."""
        if self._in_progress is not None and not self._in_progress.finished:
            self._finish(self._in_progress)
        messages = self.world.sqs.queues[QUEUE_URL].messages
        for _ in [message for message in messages if message.visible_at <= self.world.clock.now]:
            attempt = (
                AttemptOutcome.SOURCE_FAILS if self.down >= SOURCE else AttemptOutcome.SUCCEEDS
            )
            outcome = self._outcome("receive_message")
            self._finish(self.world.receive(self.world.workers[0], attempt, outcome=outcome))

    def _finish(self, actor: Actor) -> None:
        while not actor.finished:
            self.world.step(actor, self._outcome(actor.pending_call))

    def _outcome(self, call: str | None) -> CallOutcome:
        is_down = call in self.down - SOURCE  # a source that is down fails the attempt, not AWS
        return CallOutcome.REJECTED if is_down else CallOutcome.SUCCEEDS


def test_the_limits_here_are_the_defaults() -> None:
    config = ExecutionConfig(aws_region="r", task_table="t", task_queue_url="q")
    assert config.failure_limits() == LIMITS
    assert timedelta(seconds=config.retry_backoff_base_s) == BACKOFF.base
    assert timedelta(seconds=config.retry_backoff_cap_s) == BACKOFF.cap


@pytest.mark.parametrize("name", OUTAGES)
def test_an_outage_fails_no_task(name: str, tmp_path: Path) -> None:
    simulation = Simulation(tmp_path)
    world = simulation.world
    start = world.clock.now
    simulation.run_until(start + timedelta(minutes=5), submits=True)
    simulation.leave_work_in_progress()
    simulation.down = OUTAGES[name]
    lasts = timedelta(minutes=30) if simulation.down >= SOURCE else timedelta(hours=1)
    end = world.clock.now + lasts
    simulation.run_until(end, submits=True)
    simulation.down = set()
    simulation.run_until(end + RECOVERY, submits=False)

    rows = world.invariants.rows()
    assert {row.status for row in rows} == {Status.COMPLETED}
    assert len(rows) >= 5 * TASKS_PER_MINUTE + WAITING_TASKS
    assert world.dead_letters() == 0


def test_messages_that_are_received_too_often_do_not_leave_the_queue(tmp_path: Path) -> None:
    """An outage of the table for 12 hours, during which every message is received each minute."""
    simulation = Simulation(tmp_path)
    world = simulation.world
    simulation.leave_work_in_progress()
    simulation.down = TABLE
    simulation.run_until(world.clock.now + timedelta(hours=12), submits=False)
    assert world.dead_letters() == 0
    simulation.down = set()
    simulation.run_until(world.clock.now + RECOVERY, submits=False)
    assert {row.status for row in world.invariants.rows()} == {Status.COMPLETED}
