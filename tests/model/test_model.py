"""The whole system as a state machine: anything may happen at any call, and the promises hold.

``make model`` looks longer, and elsewhere each time.
"""

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.model.actor import Fate
from tests.model.memory_sqs import Delivery
from tests.model.world import Work, Worker, World
from tests.tasks import LEASE, POLICY

numbers = st.integers(0, 7)
fates = st.sampled_from(Fate)
works = st.sampled_from([Work.SUCCEEDS, *Work])
spans = st.sampled_from(
    [
        *[timedelta(milliseconds=1), timedelta(seconds=5), LEASE / 3, LEASE, LEASE],
        *[timedelta(minutes=5), timedelta(minutes=5), POLICY.first_check, POLICY.first_check],
        *[timedelta(hours=2), timedelta(hours=2), POLICY.deadline],
    ]
)
"""Those that matter for leases, looks and deadlines; a deadline seldom passes."""


class Model(RuleBasedStateMachine):
    """Clients, workers, reconcilers and operators, one call of one of them at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch = Path(tempfile.mkdtemp(prefix="taskfleet-model-"))

    @initialize(outdated_receipts_work=st.booleans(), tasks=st.integers(1, 2))
    def begin(self, outdated_receipts_work: bool, tasks: int) -> None:  # noqa: FBT001
        self.world = World(self.scratch, outdated_receipts_work=outdated_receipts_work)
        for _ in range(tasks):
            self.world.finish(self.world.submit(None))

    # ── Clients ───────────────────────────────────────────────────────────────────────────────

    @rule(key=st.sampled_from(["a", "b", None]))
    def submit(self, key: str | None) -> None:
        self.world.submit(key)

    @rule(number=numbers, cancels=st.booleans())
    def change_ones_mind(self, number: int, cancels: bool) -> None:  # noqa: FBT001
        rows = self.world.judge.rows()
        task_id = rows[number % len(rows)].task_id
        if cancels:
            self.world.cancel(task_id)
        else:
            self.world.retry(task_id)

    # ── Workers ───────────────────────────────────────────────────────────────────────────────

    @precondition(lambda self: self.world.messages() and self._idle_workers())
    @rule(
        number=numbers,
        work=works,
        pick=numbers,
        duplicate=st.booleans(),
        fate=st.sampled_from([Fate.GOES_WELL, *Fate]),
    )
    def receive(
        self,
        number: int,
        work: Work,
        pick: int,
        duplicate: bool,  # noqa: FBT001
        fate: Fate,
    ) -> None:
        idle = self._idle_workers()
        self.world.receive(idle[number % len(idle)], work, Delivery(pick, duplicate), fate)

    @precondition(lambda self: self._busy_workers())
    @rule(number=numbers, calls=st.integers(1, 4))
    def work_on(self, number: int, calls: int) -> None:
        busy = self._busy_workers()
        self._go_on(busy[number % len(busy)], calls)

    @precondition(lambda self: self._busy_workers() and self._idle_workers())
    @rule(number=numbers, calls=st.integers(1, 6), late_calls=st.integers(0, 4), work=works)
    def somebody_takes_over(self, number: int, calls: int, late_calls: int, work: Work) -> None:
        """Who is at work stands still until the lease has ended, and then goes on."""
        late, other = self._busy_workers()[0], self._idle_workers()[0]
        self.world.clock.advance(LEASE)
        self.world.receive(other, work, Delivery(number))
        self._go_on(other, calls)
        self._go_on(late, late_calls)

    @precondition(lambda self: self._busy_workers())
    @rule(number=numbers, first=fates, second=fates)
    def beat(self, number: int, first: Fate, second: Fate) -> None:
        busy = self._busy_workers()
        busy[number % len(busy)].beat([first, second])

    @precondition(lambda self: self._busy_workers())
    @rule(number=numbers, first=fates, second=fates)
    def give_back(self, number: int, first: Fate, second: Fate) -> None:
        busy = self._busy_workers()
        busy[number % len(busy)].give_back([first, second])

    # ── Reconcilers and operators ─────────────────────────────────────────────────────────────

    @precondition(lambda self: self.world.judge.open_tasks() and self._running("reconcile") < 2)
    @rule(at_once=st.booleans())
    def reconcile(self, at_once: bool) -> None:  # noqa: FBT001
        actor = self.world.reconcile()
        if at_once:
            self.world.finish(actor)

    @precondition(lambda self: self.world.dead_letters() and not self._running("redrive"))
    @rule()
    def redrive(self) -> None:
        self.world.redrive()

    # ── Whoever is under way ──────────────────────────────────────────────────────────────────

    @precondition(lambda self: self.world.actors)
    @rule(number=numbers, fate=fates)
    def one_call(self, number: int, fate: Fate) -> None:
        actors = self.world.actors
        self.world.step(actors[number % len(actors)], fate)

    @precondition(lambda self: self.world.actors)
    @rule(number=numbers)
    def all_goes_well(self, number: int) -> None:
        actors = self.world.actors
        self.world.finish(actors[number % len(actors)])

    # ── The world around ──────────────────────────────────────────────────────────────────────

    @rule(span=spans)
    def time_passes(self, span: timedelta) -> None:
        self.world.clock.advance(span)

    @precondition(lambda self: self._running("reconcile"))
    @rule(lags=st.booleans())
    def index_lags(self, lags: bool) -> None:  # noqa: FBT001
        self.world.dynamodb.index_catches_up()
        self.world.dynamodb.index_lags = lags

    # ── What holds ────────────────────────────────────────────────────────────────────────────

    @invariant()
    def promises_hold(self) -> None:
        self.world.judge.judge()

    def teardown(self) -> None:
        try:
            if not self.world.judge.violations:
                self.world.come_to_rest()
        finally:
            for actor in self.world.actors:
                actor.kill()
            shutil.rmtree(self.scratch)

    def _go_on(self, worker: Worker, calls: int) -> None:
        for _ in range(calls):
            if worker.task is not None and worker.is_busy():
                self.world.step(worker.task, Fate.GOES_WELL)

    def _idle_workers(self) -> list[Worker]:
        return [worker for worker in self.world.workers if not worker.is_busy()]

    def _busy_workers(self) -> list[Worker]:
        return [worker for worker in self.world.workers if worker.is_busy()]

    def _running(self, name: str) -> int:
        return sum(actor.name == name for actor in self.world.actors)


TestModel = Model.TestCase
TestModel.settings = (
    settings(settings.get_profile("fast"))
    if settings.get_current_profile_name() == "default"
    else settings()
)
