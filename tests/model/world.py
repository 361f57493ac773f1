"""The real services on AWS in memory, where a test decides the outcome of every call."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

from services.api.http_errors import IdempotencyKeyReused, TaskNotFound, TaskStateConflict
from services.api.schemas import Submission
from services.api.task_service import SubmitOutcome, TaskService
from services.common.circuit_breaker import CircuitBreaker
from services.common.errors import (
    AwsError,
    ImagingBusy,
    ImagingCrashed,
    SourceNotFound,
    SourceUnavailable,
)
from services.common.result_bucket import ResultBucket
from services.common.task_queue import TaskQueue
from services.common.task_table import TaskTable
from services.worker.fetching.fetcher import Writable
from services.worker.imaging import ResultImage
from services.worker.interrupt import Interrupt
from services.worker.lease import LeaseKeeper
from services.worker.processor import AttemptPolicy, Processor
from services.worker.reconciler import ReconcilePolicy, Reconciler
from services.worker.result_memory import ResultMemory
from taskctl.dead_letters import DeadLetterQueue, DeadLetters
from tests.conftest import Clock
from tests.model.actor import Actor, CallGate, CallOutcome, Crash
from tests.model.invariants import DEAD_LETTER_QUEUE_URL, QUEUE_URL, InvariantChecker
from tests.model.memory_dynamodb import MemoryDynamoDB
from tests.model.memory_sqs import Delivery, MemoryQueue, MemorySqs
from tests.tasks import BACKOFF, LEASE, LIMITS, POLICY

MAX_RECEIVES = 1_000
SETTLING_TIME = timedelta(hours=2)
"""How long a task may take without any faults: its wait, a check and a few reconciler runs."""
RECONCILE_INTERVAL = timedelta(minutes=5)
DEADLINE_SLACK = RECONCILE_INTERVAL + LEASE
"""How long a task may stay open after its deadline without any faults: until its lease expires and
the reconciler runs."""

UNCONFIRMED = {CallOutcome.TIMEOUT_AFTER, CallOutcome.SENT_TWICE, CallOutcome.CRASH_AFTER}
"""Outcomes of calls that take effect without a response."""
SENDS = {"send_message", "send_message_batch"}
REJECTIONS = (TaskNotFound, TaskStateConflict, IdempotencyKeyReused)
"""Errors that the API may return to a client."""

OWNER = "alice"
TABLE, BUCKET = "table", "bucket"
SUBMISSION = Submission.model_validate({"inputImageUrl": "https://example.com/a.jpg"})


class AttemptOutcome(Enum):
    """How an attempt ends, if all its calls to AWS succeed."""

    SUCCEEDS = None
    SOURCE_FAILS = SourceUnavailable("It failed.")
    SOURCE_ASKS_FOR_AN_HOUR = SourceUnavailable("It is busy.", retry_after_s=3_600)
    NOT_FOUND = SourceNotFound("There is none.")
    CHILD_CRASHES = ImagingCrashed("It died.")
    NO_PROCESS_IS_FREE = ImagingBusy("All are busy.", retry_after_s=5)


class _FakeProcessing:
    """Fetcher and imaging of one attempt. The result is unique to the attempt."""

    def __init__(self, gate: CallGate, attempt: AttemptOutcome, unique_id: int) -> None:
        self._gate = gate
        self._attempt = attempt
        self._unique_id = unique_id

    def fetch(self, url: str, *, into: Writable, timeout_s: float) -> int:
        self._gate.call("fetch", lambda: None)
        if self._attempt.value is not None:
            raise self._attempt.value
        return into.write(b"image")

    def process(
        self,
        source: Path,
        recipe: Mapping[str, Any],
        *,
        timeout_s: float,
        interrupt: Interrupt,
    ) -> ResultImage:
        return ResultImage(
            body=f"made by {self._unique_id}".encode(), content_type="image/png", width=1, height=1
        )


class _BucketClient:
    """An S3 client with the calls that a worker makes."""

    def __init__(self, invariants: InvariantChecker) -> None:
        self._invariants = invariants

    def put_object(self, *, Key: str, Body: bytes, **_: Any) -> Mapping[str, Any]:  # noqa: N803
        self._invariants.on_put(Key, Body)
        return {}

    def delete_object(self, *, Key: str, **_: Any) -> Mapping[str, Any]:  # noqa: N803
        self._invariants.results.pop(Key, None)
        return {}


class ModelWorker:
    """A worker process with at most one task. After a crash, it stands for a new process."""

    def __init__(self, world: "World", name: str) -> None:
        self._world = world
        self.name = name
        self.task: Actor | None = None
        self._heartbeat_outcomes: Iterator[CallOutcome] = iter(())
        gate = CallGate(lambda _: next(self._heartbeat_outcomes, CallOutcome.SUCCEEDS))
        self.leases = LeaseKeeper(
            table=world.table(gate),
            queue=world.queue(gate),
            concurrency=1,
            duration=LEASE,
            interval=LEASE / 3,
            clock=world.clock,
        )

    def is_busy(self) -> bool:
        return self.task is not None and not self.task.finished

    def receive(self, attempt: AttemptOutcome) -> Actor:
        """Start to receive and process a message."""

        def consume(gate: CallGate) -> None:
            queue = self._world.queue(gate)
            for message in queue.receive(limit=1, wait_s=0):
                processing = _FakeProcessing(gate, attempt, next(self._world.ids))
                processor = Processor(
                    table=self._world.table(gate),
                    queue=queue,
                    dead_letters=self._world.queue(gate, url=DEAD_LETTER_QUEUE_URL),
                    delete=queue.delete,
                    bucket=self._world.bucket(gate),
                    fetcher=processing,
                    imaging=processing,
                    result_memory=ResultMemory(max_result_bytes=1024),
                    leases=self.leases,
                    policy=AttemptPolicy(
                        budget=timedelta(seconds=90), backoff=BACKOFF, limits=LIMITS
                    ),
                    scratch=self._world.scratch,
                    clock=self._world.clock,
                    jitter=lambda: 0.5,
                    new_lease_owner=lambda: f"claim-{next(self._world.ids)}",
                )
                processor.process(message)

        self.task = Actor(self.name, consume)
        return self.task

    def heartbeat(self, outcomes: Sequence[CallOutcome]) -> None:
        self._run_heartbeat(outcomes, self.leases.heartbeat)

    def release(self, outcomes: Sequence[CallOutcome]) -> None:
        """Release the task, as after SIGTERM if the task does not finish in time."""
        self._run_heartbeat(outcomes, self.leases.release_all)

    def _run_heartbeat(self, outcomes: Sequence[CallOutcome], action: Callable[[], object]) -> None:
        self._heartbeat_outcomes = iter(outcomes)
        try:
            action()
        except Crash:
            if self.task is not None:
                self._world.kill(self.task)


class World:
    def __init__(self, scratch: Path, *, outdated_receipts_work: bool) -> None:
        self.clock = Clock()
        self.scratch = scratch
        self.invariants = InvariantChecker(self.clock)
        self.dynamodb = MemoryDynamoDB(observe=self.invariants.on_write)
        dead_letters = MemoryQueue(visibility=LEASE)
        queue = MemoryQueue(visibility=LEASE, dead_letters=dead_letters, max_receives=MAX_RECEIVES)
        self.sqs = MemorySqs(
            {QUEUE_URL: queue, DEAD_LETTER_QUEUE_URL: dead_letters},
            clock=self.clock,
            outdated_receipts_work=outdated_receipts_work,
            on_send=self.invariants.on_send,
            on_delete=self.invariants.on_delete,
        )
        self.ids = itertools.count(1)
        self.actors: list[Actor] = []
        self.workers = [ModelWorker(self, f"worker-{number}") for number in range(3)]

    # ── The dependencies of one process ───────────────────────────────────────────────────────

    def table(self, gate: CallGate) -> TaskTable:
        return TaskTable(gate.wrap(self.dynamodb), table=TABLE, retention=POLICY.retention)

    def queue(self, gate: CallGate, *, url: str = QUEUE_URL) -> TaskQueue:
        return TaskQueue(gate.wrap(self.sqs), url=url)

    def bucket(self, gate: CallGate) -> ResultBucket:
        return ResultBucket(gate.wrap(_BucketClient(self.invariants)), bucket=BUCKET)

    def _service(self, gate: CallGate) -> TaskService:
        return TaskService(
            table=self.table(gate),
            queue=self.queue(gate),
            bucket=self.bucket(gate),
            send_breaker=CircuitBreaker("queue", failures=5, pause_s=5, monotonic=lambda: 0.0),
            policy=POLICY,
            clock=self.clock,
            new_id=lambda: str(UUID(int=next(self.ids), version=4)),
            monotonic=lambda: 0.0,
            sleep=lambda _: None,
        )

    # ── Actions ───────────────────────────────────────────────────────────────────────────────

    def submit(self, idempotency_key: str | None) -> Actor:
        request_id = f"request-{next(self.ids)}"

        def submit(gate: CallGate) -> SubmitOutcome:
            submitted = self._service(gate).submit(
                OWNER, SUBMISSION, idempotency_key=idempotency_key, request_id=request_id
            )
            self.invariants.acknowledged.add(submitted.task.task_id)
            return submitted

        return self._start("submit", submit)

    def cancel(self, task_id: str) -> Actor:
        return self._start("cancel", lambda gate: self._service(gate).cancel(OWNER, task_id))

    def retry(self, task_id: str) -> Actor:
        request_id = f"request-{next(self.ids)}"
        return self._start(
            "retry",
            lambda gate: self._service(gate).retry(OWNER, task_id, request_id=request_id),
        )

    def reconcile(self) -> Actor:
        name = f"reconciler-{next(self.ids)}"
        return self._start(
            "reconcile",
            lambda gate: Reconciler(
                name=name,
                table=self.table(gate),
                queue=self.queue(gate),
                dead_letters=self.queue(gate, url=DEAD_LETTER_QUEUE_URL),
                policy=ReconcilePolicy(
                    lease=LEASE,
                    recheck=POLICY.first_check,
                    count_lag=timedelta(minutes=1),
                    limits=LIMITS,
                ),
                clock=self.clock,
                shuffle=lambda _: None,
            ).run(),
        )

    def redrive(self) -> Actor:
        def redrive(gate: CallGate) -> None:
            dead_letters = DeadLetters(
                letters=DeadLetterQueue(gate.wrap(self.sqs), url=DEAD_LETTER_QUEUE_URL),
                table=self.table(gate),
                queue=self.queue(gate),
                policy=POLICY,
                clock=self.clock,
            )
            with dead_letters.entries(limit=10) as entries:
                for entry in entries:
                    dead_letters.redrive(entry)

        return self._start("redrive", redrive)

    def receive(
        self,
        worker: ModelWorker,
        attempt: AttemptOutcome = AttemptOutcome.SUCCEEDS,
        delivery: Delivery = Delivery(),  # noqa: B008 - never modified
        outcome: CallOutcome = CallOutcome.SUCCEEDS,
    ) -> Actor:
        actor = worker.receive(attempt)
        self.actors.append(actor)
        actor.step()
        self.sqs.delivery = delivery
        self.step(actor, outcome)
        self.sqs.delivery = Delivery()
        return actor

    def step(self, actor: Actor, outcome: CallOutcome) -> None:
        if actor.pending_call in SENDS and outcome in UNCONFIRMED:
            self.invariants.unconfirmed_sends += 1
        if actor.pending_call in SENDS and actor.name in {"retry", "redrive"}:
            self.invariants.requested_sends += 1
        actor.step(outcome)
        self._remove_if_finished(actor)

    def finish(self, actor: Actor) -> None:
        while not actor.finished:
            self.step(actor, CallOutcome.SUCCEEDS)

    def messages(self) -> int:
        return len(self.sqs.queues[QUEUE_URL].messages)

    def dead_letters(self) -> int:
        return len(self.sqs.queues[DEAD_LETTER_QUEUE_URL].messages)

    def kill(self, actor: Actor) -> None:
        actor.kill()
        self._remove_if_finished(actor)

    def _start(self, name: str, work: Callable[[CallGate], object]) -> Actor:
        actor = Actor(name, work)
        self.actors.append(actor)
        actor.step()
        self._remove_if_finished(actor)
        return actor

    def _remove_if_finished(self, actor: Actor) -> None:
        if actor.finished and actor in self.actors:
            self.actors.remove(actor)
            expected = actor.error is None or isinstance(actor.error, (AwsError, *REJECTIONS))
            if not expected:
                self.invariants.violations.append(f"{actor.name} raised {actor.error!r}")

    # ── Without faults ────────────────────────────────────────────────────────────────────────

    def settle(self) -> None:
        """Run without faults, and require that every task ends in time, by a result if possible."""
        for actor in list(self.actors):
            self.finish(actor)
        self.dynamodb.index_lags = False
        started = self.clock.now
        while open_tasks := self.invariants.open_tasks():
            for task in open_tasks:
                deadline = min(task.deadline_at, started + SETTLING_TIME)
                limit = max(deadline, started) + DEADLINE_SLACK
                assert self.clock.now <= limit, f"{task.task_id} is still open at {limit}: {task}"
            self._drain_queue()
            self.finish(self.reconcile())
            self.invariants.check()
            self.clock.now = self._next_run()

    def _drain_queue(self) -> None:
        while any(
            message.visible_at <= self.clock.now for message in self.sqs.queues[QUEUE_URL].messages
        ):
            actor = self.receive(self.workers[0])
            self.finish(actor)

    def _next_run(self) -> datetime:
        """The next reconciler run, or the first later time with a due task or a visible message."""
        due = [task.check_at for task in self.invariants.open_tasks() if task.check_at is not None]
        visible = [message.visible_at for message in self.sqs.queues[QUEUE_URL].messages]
        next_run = self.clock.now + RECONCILE_INTERVAL
        return max(next_run, min([*due, *visible], default=next_run))
