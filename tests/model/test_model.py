"""The whole system as a state machine: any call may fail in any way, and the promises hold.

Hypothesis picks the next actor and the outcome of its call. ``make model`` runs more examples, and
different ones each time.
"""

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.model.actor import CallOutcome
from tests.model.memory_sqs import Delivery
from tests.model.world import AttemptOutcome, ModelWorker, World
from tests.tasks import LEASE, POLICY

numbers = st.integers(0, 7)
outcomes = st.sampled_from(CallOutcome)
attempts = st.sampled_from([AttemptOutcome.SUCCEEDS, *AttemptOutcome])
durations = st.sampled_from(
    [
        *[timedelta(milliseconds=1), timedelta(seconds=5), LEASE / 3, LEASE, LEASE],
        *[timedelta(minutes=5), timedelta(minutes=5), POLICY.first_check, POLICY.first_check],
        *[timedelta(hours=2), timedelta(hours=2), POLICY.deadline],
    ]
)
"""Durations that matter for leases, checks and deadlines. A deadline rarely passes."""


class Model(RuleBasedStateMachine):
    """Clients, workers, reconcilers and operators, which make one call at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch = Path(tempfile.mkdtemp(prefix="taskfleet-model-"))

    @initialize(outdated_receipts_work=st.booleans(), tasks=st.integers(1, 2))
    def start(self, outdated_receipts_work: bool, tasks: int) -> None:  # noqa: FBT001
        self.world = World(self.scratch, outdated_receipts_work=outdated_receipts_work)
        for _ in range(tasks):
            self.world.finish(self.world.submit(None))

    # ── Clients ───────────────────────────────────────────────────────────────────────────────

    @rule(key=st.sampled_from(["a", "b", None]))
    def submit(self, key: str | None) -> None:
        self.world.submit(key)

    @rule(number=numbers, cancels=st.booleans())
    def cancel_or_retry(self, number: int, cancels: bool) -> None:  # noqa: FBT001
        rows = self.world.invariants.rows()
        task_id = rows[number % len(rows)].task_id
        if cancels:
            self.world.cancel(task_id)
        else:
            self.world.retry(task_id)

    # ── Workers ───────────────────────────────────────────────────────────────────────────────

    @precondition(lambda self: self.world.messages() and self._idle_workers())
    @rule(
        number=numbers,
        attempt=attempts,
        pick=numbers,
        duplicate=st.booleans(),
        outcome=st.sampled_from([CallOutcome.SUCCEEDS, *CallOutcome]),
    )
    def receive(
        self,
        number: int,
        attempt: AttemptOutcome,
        pick: int,
        duplicate: bool,  # noqa: FBT001
        outcome: CallOutcome,
    ) -> None:
        idle = self._idle_workers()
        worker = idle[number % len(idle)]
        self.world.receive(worker, attempt, Delivery(pick, duplicate), outcome)

    @precondition(lambda self: self._busy_workers())
    @rule(number=numbers, calls=st.integers(1, 4))
    def continue_work(self, number: int, calls: int) -> None:
        busy = self._busy_workers()
        self._make_calls(busy[number % len(busy)], calls)

    @precondition(lambda self: self._busy_workers() and self._idle_workers())
    @rule(number=numbers, calls=st.integers(1, 6), late_calls=st.integers(0, 4), attempt=attempts)
    def take_over(self, number: int, calls: int, late_calls: int, attempt: AttemptOutcome) -> None:
        """A busy worker pauses until its lease has expired, and continues after a takeover."""
        late, other = self._busy_workers()[0], self._idle_workers()[0]
        self.world.clock.advance(LEASE)
        self.world.receive(other, attempt, Delivery(number))
        self._make_calls(other, calls)
        self._make_calls(late, late_calls)

    @precondition(lambda self: self._busy_workers())
    @rule(number=numbers, first=outcomes, second=outcomes)
    def heartbeat(self, number: int, first: CallOutcome, second: CallOutcome) -> None:
        busy = self._busy_workers()
        busy[number % len(busy)].heartbeat([first, second])

    @precondition(lambda self: self._busy_workers())
    @rule(number=numbers, first=outcomes, second=outcomes)
    def release(self, number: int, first: CallOutcome, second: CallOutcome) -> None:
        busy = self._busy_workers()
        busy[number % len(busy)].release([first, second])

    # ── Reconcilers and operators ─────────────────────────────────────────────────────────────

    @precondition(
        lambda self: self.world.invariants.open_tasks() and self._running("reconcile") < 2
    )
    @rule(to_end=st.booleans())
    def reconcile(self, to_end: bool) -> None:  # noqa: FBT001
        actor = self.world.reconcile()
        if to_end:
            self.world.finish(actor)

    @precondition(lambda self: self.world.dead_letters() and not self._running("redrive"))
    @rule()
    def redrive(self) -> None:
        self.world.redrive()

    # ── Any actor ─────────────────────────────────────────────────────────────────────────────

    @precondition(lambda self: self.world.actors)
    @rule(number=numbers, outcome=outcomes)
    def step(self, number: int, outcome: CallOutcome) -> None:
        actors = self.world.actors
        self.world.step(actors[number % len(actors)], outcome)

    @precondition(lambda self: self.world.actors)
    @rule(number=numbers)
    def finish(self, number: int) -> None:
        actors = self.world.actors
        self.world.finish(actors[number % len(actors)])

    # ── Environment ───────────────────────────────────────────────────────────────────────────

    @rule(duration=durations)
    def advance_time(self, duration: timedelta) -> None:
        self.world.clock.advance(duration)

    @precondition(lambda self: self._running("reconcile"))
    @rule(lags=st.booleans())
    def set_index_lag(self, lags: bool) -> None:  # noqa: FBT001
        self.world.dynamodb.update_index()
        self.world.dynamodb.index_lags = lags

    # ── Promises ──────────────────────────────────────────────────────────────────────────────

    @invariant()
    def promises_hold(self) -> None:
        self.world.invariants.check()

    def teardown(self) -> None:
        try:
            if not self.world.invariants.violations:
                self.world.settle()
        finally:
            for actor in self.world.actors:
                actor.kill()
            shutil.rmtree(self.scratch)

    def _make_calls(self, worker: ModelWorker, calls: int) -> None:
        for _ in range(calls):
            if worker.task is not None and worker.is_busy():
                self.world.step(worker.task, CallOutcome.SUCCEEDS)

    def _idle_workers(self) -> list[ModelWorker]:
        return [worker for worker in self.world.workers if not worker.is_busy()]

    def _busy_workers(self) -> list[ModelWorker]:
        return [worker for worker in self.world.workers if worker.is_busy()]

    def _running(self, name: str) -> int:
        return sum(actor.name == name for actor in self.world.actors)


TestModel = Model.TestCase
TestModel.settings = (
    settings(settings.get_profile("fast"))
    if settings.get_current_profile_name() == "default"
    else settings()
)
