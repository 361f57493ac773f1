"""The services as they are, over an outside in memory that can be stopped at every call."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

from services.api.errors import IdempotencyKeyReused, TaskNotFound, TaskStateConflict
from services.api.schemas import Submission
from services.api.submission_limiter import SubmissionCounter, SubmissionLimiter
from services.api.task_service import SubmitOutcome, TaskService
from services.common.errors import (
    AttemptError,
    AwsError,
    ImagingCrashed,
    SourceNotFound,
    SourceUnavailable,
)
from services.common.result_bucket import ResultBucket
from services.common.task import Backoff
from services.common.task_queue import TaskQueue
from services.common.task_table import TaskTable
from services.worker.imaging import ResultImage
from services.worker.lease import LeaseKeeper
from services.worker.processor import AttemptPolicy, Processor
from services.worker.reconciler import ReconcilePolicy, Reconciler
from taskctl.dead_letters import DeadLetterQueue, DeadLetters
from tests.conftest import Clock
from tests.model.actor import Actor, Crash, Fate, Line
from tests.model.judge import DEAD_LETTER_QUEUE_URL, QUEUE_URL, Judge
from tests.model.memory_dynamodb import MemoryDynamoDB
from tests.model.memory_sqs import Delivery, MemorySqs, Queue
from tests.tasks import LEASE, POLICY

BACKOFF = Backoff(base=timedelta(seconds=5), cap=timedelta(seconds=300))
MAX_RECEIVES = 15
MAX_BACKLOG = 50
UNSENT_CHECK = timedelta(seconds=10)
RECONCILE_EVERY = timedelta(minutes=5)
SLACK = RECONCILE_EVERY + LEASE
"""How long after its deadline a task may be open when nothing goes wrong: under the lease that held
then, and until the next run of the reconciler."""

UNHEARD = {Fate.UNHEARD, Fate.RESENT, Fate.CRASH_AFTER}
REFUSALS = (TaskNotFound, TaskStateConflict, IdempotencyKeyReused)
"""Of the API, to a client that asks for what cannot be."""

OWNER = "alice"
TABLE, BUCKET = "table", "bucket"
SUBMISSION = Submission.model_validate({"inputImageUrl": "https://example.com/a.jpg"})


class Work(Enum):
    """How an attempt goes, apart from AWS."""

    SUCCEEDS = None
    SOURCE_FAILS = SourceUnavailable
    NO_IMAGE = SourceNotFound
    CHILD_CRASHES = ImagingCrashed


class _Studio:
    """Fetcher and imaging of one attempt: an image that no other attempt makes."""

    def __init__(self, line: Line, work: Work, serial: int) -> None:
        self._line = line
        self._work = work
        self._serial = serial

    def fetch(self, url: str, *, into: BinaryIO, timeout_s: float) -> int:
        self._line.call("fetch", lambda: None)
        error: type[AttemptError] | None = self._work.value
        if error is not None:
            raise error("As it happens.")
        return into.write(b"image")

    def process(
        self,
        source: Path,
        operations: Sequence[Mapping[str, Any]],
        output: Mapping[str, Any] | None,
        *,
        timeout_s: float,
    ) -> ResultImage:
        return ResultImage(
            body=f"made by {self._serial}".encode(), content_type="image/png", width=1, height=1
        )


class _Store:
    """The calls of an S3 client that a worker makes."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def put_object(self, *, Key: str, Body: bytes, **_: Any) -> Mapping[str, Any]:  # noqa: N803
        self._judge.put(Key, Body)
        return {}


class Worker:
    """A worker process that has one task under way at most; another one after a crash."""

    def __init__(self, world: "World", name: str) -> None:
        self._world = world
        self.name = name
        self.task: Actor | None = None
        self._heart_fates: Iterator[Fate] = iter(())
        heart = Line(lambda _: next(self._heart_fates, Fate.GOES_WELL))
        self.leases = LeaseKeeper(
            table=world.table(heart),
            queue=world.queue(heart),
            concurrency=1,
            duration=LEASE,
            interval=LEASE / 3,
            clock=world.clock,
        )

    def is_busy(self) -> bool:
        return self.task is not None and not self.task.over

    def receive(self, work: Work) -> Actor:
        """Begin to receive a message and to do what it asks."""

        def consume(line: Line) -> None:
            queue = self._world.queue(line)
            for message in queue.receive(limit=1, wait_s=0):
                studio = _Studio(line, work, next(self._world.serials))
                processor = Processor(
                    table=self._world.table(line),
                    queue=queue,
                    bucket=ResultBucket(line.to(_Store(self._world.judge)), bucket=BUCKET),
                    fetcher=studio,
                    imaging=studio,
                    leases=self.leases,
                    policy=AttemptPolicy(budget=timedelta(seconds=90), backoff=BACKOFF),
                    scratch=self._world.scratch,
                    clock=self._world.clock,
                    jitter=lambda: 0.5,
                    new_lease_owner=lambda: f"claim-{next(self._world.serials)}",
                )
                processor.process(message)

        self.task = Actor(self.name, consume)
        return self.task

    def beat(self, fates: Sequence[Fate]) -> None:
        self._heart(fates, self.leases.heartbeat)

    def give_back(self, fates: Sequence[Fate]) -> None:
        """What SIGTERM comes to when the task does not finish in time."""
        self._heart(fates, self.leases.release_all)

    def _heart(self, fates: Sequence[Fate], act: Callable[[], object]) -> None:
        self._heart_fates = iter(fates)
        try:
            act()
        except Crash:
            if self.task is not None:
                self._world.kill(self.task)


class World:
    def __init__(self, scratch: Path, *, outdated_receipts_work: bool) -> None:
        self.clock = Clock()
        self.scratch = scratch
        self.judge = Judge(self.clock)
        self.dynamodb = MemoryDynamoDB(observe=self.judge.write)
        dead_letters = Queue(visibility=LEASE)
        queue = Queue(visibility=LEASE, dead_letters=dead_letters, max_receives=MAX_RECEIVES)
        self.sqs = MemorySqs(
            {QUEUE_URL: queue, DEAD_LETTER_QUEUE_URL: dead_letters},
            clock=self.clock,
            outdated_receipts_work=outdated_receipts_work,
            on_send=self.judge.send,
            on_delete=self.judge.delete,
        )
        self.serials = itertools.count(1)
        self.actors: list[Actor] = []
        self.workers = [Worker(self, f"worker-{number}") for number in range(3)]

    # ── The parts, as one process reaches them ────────────────────────────────────────────────

    def table(self, line: Line) -> TaskTable:
        return TaskTable(line.to(self.dynamodb), table=TABLE, retention=POLICY.retention)

    def queue(self, line: Line, *, url: str = QUEUE_URL) -> TaskQueue:
        return TaskQueue(line.to(self.sqs), url=url)

    def _service(self, line: Line) -> TaskService:
        return TaskService(
            table=self.table(line),
            queue=self.queue(line),
            bucket=ResultBucket(line.to(_Store(self.judge)), bucket=BUCKET),
            limiter=SubmissionLimiter(
                counter=SubmissionCounter(line.to(self.dynamodb), table=TABLE),
                limit=0,
                clock=self.clock,
            ),
            policy=POLICY,
            unsent_check=UNSENT_CHECK,
            presigned_url_ttl_s=600,
            clock=self.clock,
            new_id=lambda: str(UUID(int=next(self.serials), version=4)),
            monotonic=lambda: 0.0,
            sleep=lambda _: None,
        )

    # ── What may begin ────────────────────────────────────────────────────────────────────────

    def submit(self, idempotency_key: str | None) -> Actor:
        request_id = f"request-{next(self.serials)}"

        def submit(line: Line) -> SubmitOutcome:
            submitted = self._service(line).submit(
                OWNER, SUBMISSION, idempotency_key=idempotency_key, request_id=request_id
            )
            self.judge.acknowledged.add(submitted.task.task_id)
            return submitted

        return self._begin("submit", submit)

    def cancel(self, task_id: str) -> Actor:
        return self._begin("cancel", lambda line: self._service(line).cancel(OWNER, task_id))

    def retry(self, task_id: str) -> Actor:
        request_id = f"request-{next(self.serials)}"
        return self._begin(
            "retry",
            lambda line: self._service(line).retry(OWNER, task_id, request_id=request_id),
        )

    def reconcile(self) -> Actor:
        name = f"reconciler-{next(self.serials)}"
        return self._begin(
            "reconcile",
            lambda line: Reconciler(
                name=name,
                table=self.table(line),
                queue=self.queue(line),
                dead_letters=self.queue(line, url=DEAD_LETTER_QUEUE_URL),
                policy=ReconcilePolicy(
                    lease=LEASE, max_backoff=BACKOFF.cap, max_backlog=MAX_BACKLOG
                ),
                clock=self.clock,
                shuffle=lambda _: None,
            ).run(),
        )

    def redrive(self) -> Actor:
        def redrive(line: Line) -> None:
            dead_letters = DeadLetters(
                letters=DeadLetterQueue(line.to(self.sqs), url=DEAD_LETTER_QUEUE_URL),
                table=self.table(line),
                queue=self.queue(line),
                policy=POLICY,
                clock=self.clock,
            )
            with dead_letters.entries(limit=10) as entries:
                for entry in entries:
                    dead_letters.redrive(entry)

        return self._begin("redrive", redrive)

    def receive(
        self,
        worker: Worker,
        work: Work = Work.SUCCEEDS,
        delivery: Delivery = Delivery(),  # noqa: B008 - nobody changes it
        fate: Fate = Fate.GOES_WELL,
    ) -> Actor:
        actor = worker.receive(work)
        self.actors.append(actor)
        actor.step()
        self.sqs.delivery = delivery
        self.step(actor, fate)
        self.sqs.delivery = Delivery()
        return actor

    def step(self, actor: Actor, fate: Fate) -> None:
        if actor.calls == "send_message" and fate in UNHEARD:
            self.judge.sends_unheard += 1
        actor.step(fate)
        self._let_go(actor)

    def finish(self, actor: Actor) -> None:
        while not actor.over:
            self.step(actor, Fate.GOES_WELL)

    def messages(self) -> int:
        return len(self.sqs.queues[QUEUE_URL].messages)

    def dead_letters(self) -> int:
        return len(self.sqs.queues[DEAD_LETTER_QUEUE_URL].messages)

    def kill(self, actor: Actor) -> None:
        actor.kill()
        self._let_go(actor)

    def _begin(self, name: str, work: Callable[[Line], object]) -> Actor:
        actor = Actor(name, work)
        self.actors.append(actor)
        actor.step()
        self._let_go(actor)
        return actor

    def _let_go(self, actor: Actor) -> None:
        if actor.over and actor in self.actors:
            self.actors.remove(actor)
            expected = actor.error is None or isinstance(actor.error, (AwsError, *REFUSALS))
            if not expected:
                self.judge.violations.append(f"{actor.name} met {actor.error!r}")

    # ── When all is quiet ─────────────────────────────────────────────────────────────────────

    def come_to_rest(self) -> None:
        """Nothing goes wrong any more: every task must be over by its deadline, or soon."""
        for actor in list(self.actors):
            self.finish(actor)
        self.dynamodb.index_lags = False
        quiet_since = self.clock.now
        while open_tasks := self.judge.open_tasks():
            for task in open_tasks:
                by = max(task.deadline_at, quiet_since) + SLACK
                assert self.clock.now <= by, f"{task.task_id} is still open at {by}: {task}"
            self._work_off()
            self.finish(self.reconcile())
            self.judge.judge()
            self.clock.now = self._next_run()

    def _work_off(self) -> None:
        while any(
            sent.visible_at <= self.clock.now for sent in self.sqs.queues[QUEUE_URL].messages
        ):
            actor = self.receive(self.workers[0])
            self.finish(actor)

    def _next_run(self) -> datetime:
        """The first run of the reconciler at which something is due, or a message shows itself."""
        due = [task.check_at for task in self.judge.open_tasks() if task.check_at is not None]
        shown = [sent.visible_at for sent in self.sqs.queues[QUEUE_URL].messages]
        following = self.clock.now + RECONCILE_EVERY
        return max(following, min([*due, *shown], default=following))
