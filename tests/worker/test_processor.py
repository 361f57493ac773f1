"""One message through a worker, with a real table, queue and bucket and stand-ins for the rest."""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import wait
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import structlog

from services.common.errors import (
    AttemptError,
    BucketUnavailable,
    ImageDamaged,
    ImagingCrashed,
    SourceNotFound,
    SourceUnavailable,
    TableUnavailable,
)
from services.common.result_bucket import ResultBucket
from services.common.task import Backoff, Phase, Result, Status, Task
from services.common.task_queue import Message, TaskQueue
from services.common.task_record import to_item
from services.common.task_table import TaskTable
from services.common.telemetry import Metric
from services.worker.imaging import ResultImage
from services.worker.lease import LeaseKeeper
from services.worker.processor import AttemptPolicy, Processor
from tests.conftest import Clock, Cloud
from tests.tasks import LEASE, NOW, POLICY, new_task, task_in

SOURCE = b"what the source serves"
IMAGE = ResultImage(body=b"a gray image", content_type="image/png", width=4, height=3)


@dataclass
class StubFetcher:
    """Serves bytes, or fails as told."""

    error: Exception | None = None
    urls: list[str] = field(default_factory=list)

    def fetch(self, url: str, *, into: BinaryIO, timeout_s: float) -> int:
        self.urls.append(url)
        if self.error is not None:
            raise self.error
        return into.write(SOURCE)


@dataclass
class StubImaging:
    """Gives an image, or fails as told; `meanwhile` happens while it is at work."""

    error: Exception | None = None
    meanwhile: Callable[[], object] = lambda: None
    sources: list[bytes] = field(default_factory=list)

    def process(
        self,
        source: Path,
        operations: Sequence[Mapping[str, Any]],
        output: Mapping[str, Any] | None,
        *,
        timeout_s: float,
    ) -> ResultImage:
        self.sources.append(source.read_bytes())
        self.meanwhile()
        if self.error is not None:
            raise self.error
        return IMAGE


class Bench:
    """A processor and everything around it."""

    def __init__(self, cloud: Cloud, table: TaskTable, clock: Clock, scratch: Path) -> None:
        self.cloud, self.table, self.clock, self.scratch = cloud, table, clock, scratch
        self.queue = TaskQueue(cloud.sqs, url=cloud.resources.task_queue_url)
        self.bucket = ResultBucket(cloud.s3, bucket=cloud.resources.result_bucket)
        self.fetcher = StubFetcher()
        self.imaging = StubImaging()
        self.lease_owners = (f"claim-{number}" for number in itertools.count(1))

    def processor(self) -> Processor:
        self.leases = LeaseKeeper(
            table=self.table,
            queue=self.queue,
            at_once=1,
            duration=LEASE,
            interval=LEASE,
            clock=self.clock,
        )
        return Processor(
            table=self.table,
            queue=self.queue,
            bucket=self.bucket,
            fetcher=self.fetcher,
            imaging=self.imaging,
            leases=self.leases,
            policy=AttemptPolicy(
                budget=timedelta(seconds=90),
                backoff=Backoff(base=timedelta(seconds=5), cap=timedelta(seconds=300)),
            ),
            scratch=self.scratch,
            clock=self.clock,
            jitter=lambda: 0.0,
            new_lease_owner=lambda: next(self.lease_owners),
        )

    def put(self, task: Task) -> Task:
        self.cloud.dynamodb.put_item(TableName=self.cloud.resources.task_table, Item=to_item(task))
        self.queue.send(task.task_id, request_id=task.request_id)
        return task

    def receive(self) -> Message:
        [message] = self.queue.receive(limit=1, wait_s=0)
        return message

    def process(self) -> None:
        """Receive the one message that there is, and process it."""
        self.processor().process(self.receive())

    def row(self, task: Task) -> Task:
        row = self.table.get(task.task_id)
        assert row is not None
        return row

    def stored(self) -> dict[str, bytes]:
        bucket = self.cloud.resources.result_bucket
        listing = self.cloud.s3.list_objects_v2(Bucket=bucket).get("Contents", [])
        return {
            entry["Key"]: self.cloud.s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            for entry in listing
        }


@pytest.fixture
def bench(cloud: Cloud, table: TaskTable, clock: Clock, tmp_path: Path) -> Bench:
    return Bench(cloud, table, clock, tmp_path)


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as entries:
        yield entries


def failed_with(error: AttemptError) -> StubFetcher:
    return StubFetcher(error=error)


def test_a_task_is_fetched_processed_stored_completed_and_its_message_deleted(
    bench: Bench,
) -> None:
    task = bench.put(new_task())
    bench.process()
    row = bench.row(task)
    assert row.status is Status.COMPLETED
    assert row.result == Result(
        key=f"results/{task.task_id}/1.png",
        content_type="image/png",
        size_bytes=len(IMAGE.body),
        width=4,
        height=3,
        sha256=hashlib.sha256(IMAGE.body).hexdigest(),
    )
    assert bench.fetcher.urls == [task.input_image_url]
    assert bench.imaging.sources == [SOURCE]
    assert bench.stored() == {row.result.key: IMAGE.body}
    assert bench.cloud.messages() == {"queue": 0, "dead letters": 0}
    assert list(bench.scratch.iterdir()) == []


def test_the_clients_fault_fails_the_task_at_once_and_for_good(bench: Bench) -> None:
    bench.fetcher = failed_with(SourceNotFound("The server says that there is no such image."))
    task = bench.put(new_task())
    bench.process()
    row = bench.row(task)
    assert (row.status, row.will_retry, row.attempt) == (Status.FAILED, False, 1)
    assert row.failure_code == "source_not_found"
    assert row.failure_reason == "The server says that there is no such image."
    assert bench.cloud.messages() == {"queue": 0, "dead letters": 0}


def test_a_source_that_recovers_is_tried_again_until_it_gives_the_image(bench: Bench) -> None:
    bench.fetcher = failed_with(SourceUnavailable("503"))
    task = bench.put(new_task())
    bench.process()
    row = bench.row(task)
    assert (row.status, row.will_retry) == (Status.FAILED, True)
    bench.fetcher = StubFetcher()
    bench.process()
    row = bench.row(task)
    assert (row.status, row.will_retry, row.attempt) == (Status.COMPLETED, False, 2)
    assert row.failure_code is None
    assert bench.cloud.messages()["queue"] == 0


def test_a_source_that_never_recovers_uses_up_its_attempts_and_no_dead_letter(
    bench: Bench,
) -> None:
    bench.fetcher = failed_with(SourceUnavailable("503"))
    task = bench.put(new_task())
    for _ in range(5):
        bench.process()
    row = bench.row(task)
    assert (row.status, row.will_retry, row.attempt) == (Status.FAILED, False, 5)
    assert bench.cloud.messages() == {"queue": 0, "dead letters": 0}


def test_our_own_fault_ends_as_a_dead_letter_when_attempts_are_used_up(bench: Bench) -> None:
    bench.imaging = StubImaging(error=ImagingCrashed("The child died."))
    task = bench.put(new_task())
    for _ in range(5):
        bench.process()
    row = bench.row(task)
    assert (row.status, row.will_retry) == (Status.FAILED, False)
    assert row.failure_code == "imaging_crashed"
    while bench.cloud.messages()["queue"]:
        for message in bench.queue.receive(limit=1, wait_s=0):
            bench.processor().process(message)
    assert bench.cloud.messages() == {"queue": 0, "dead letters": 1}
    assert bench.row(task) == row


def test_a_bug_costs_an_attempt_and_leaves_its_traceback(bench: Bench, logs: list[Any]) -> None:
    bench.imaging = StubImaging(error=ZeroDivisionError("secret detail"))
    task = bench.put(new_task())
    bench.process()
    row = bench.row(task)
    assert (row.failure_code, row.will_retry) == ("internal_error", True)
    assert "secret detail" not in (row.failure_reason or "")
    [entry] = [entry for entry in logs if entry["event"] == "attempt failed"]
    assert isinstance(entry["exc_info"].__cause__, ZeroDivisionError)


def test_a_bucket_that_refuses_costs_an_attempt_and_nothing_is_completed(bench: Bench) -> None:
    class FullBucket(ResultBucket):
        def put(self, key: str, body: bytes, *, content_type: str) -> None:
            raise BucketUnavailable("PutObject: SlowDown")

    bench.bucket = FullBucket(bench.cloud.s3, bucket=bench.cloud.resources.result_bucket)
    task = bench.put(new_task())
    bench.process()
    row = bench.row(task)
    assert (row.status, row.failure_code, row.will_retry) == (
        Status.FAILED,
        "storage_failed",
        True,
    )


def test_a_row_that_cannot_be_written_leaves_the_message_for_later(bench: Bench) -> None:
    class UnreachableTable(TaskTable):
        def complete(self, *_: Any, **__: Any) -> None:
            raise TableUnavailable("UpdateItem: ThrottlingException")

    table = bench.table
    bench.table = UnreachableTable(
        bench.cloud.dynamodb, table=bench.cloud.resources.task_table, retention=timedelta(1)
    )
    task = bench.put(new_task())
    with pytest.raises(TableUnavailable):
        bench.process()
    assert bench.cloud.messages()["queue"] == 1
    row = table.get(task.task_id)
    assert row is not None
    assert row.status is Status.RUNNING


@pytest.mark.parametrize("phase", [Phase.COMPLETED, Phase.CANCELED, Phase.FAILED])
def test_a_redelivered_message_of_an_ended_task_is_deleted(bench: Bench, phase: Phase) -> None:
    task = bench.put(task_in(phase))
    bench.process()
    assert bench.row(task) == task
    assert bench.fetcher.urls == []
    assert bench.cloud.messages() == {"queue": 0, "dead letters": 0}


def test_a_duplicate_of_a_task_under_a_live_lease_is_put_back_until_the_lease_ends(
    bench: Bench,
) -> None:
    task = bench.put(task_in(Phase.LEASED, lease_until=NOW + LEASE))
    bench.process()
    assert bench.row(task) == task
    backlog = bench.queue.backlog()
    assert (backlog.visible, backlog.in_flight) == (0, 1)


@pytest.mark.parametrize(
    ("spent", "code"),
    [({"attempt": 5}, "attempts_exhausted"), ({"deadline_at": NOW}, "deadline_passed")],
)
def test_a_message_of_a_task_with_nothing_left_fails_it(
    bench: Bench, spent: dict[str, Any], code: str
) -> None:
    task = bench.put(task_in(Phase.ABANDONED, **spent))
    bench.process()
    row = bench.row(task)
    assert (row.status, row.failure_code) == (Status.FAILED, code)
    assert bench.cloud.messages()["queue"] == 1, "left for the dead-letter queue"


@pytest.mark.parametrize(
    "body", ["", "not JSON", "{}", "[]", "[" * 100_000, '{"taskId": "no-such-task"}']
)
def test_a_message_that_nobody_can_act_on_is_left_for_the_dead_letter_queue(
    bench: Bench, body: str
) -> None:
    bench.cloud.sqs.send_message(
        QueueUrl=bench.cloud.resources.task_queue_url, MessageBody=body or " "
    )
    for _ in range(15):
        bench.process()
    assert bench.queue.receive(limit=1, wait_s=0) == []
    assert bench.cloud.messages() == {"queue": 0, "dead letters": 1}


def test_a_worker_that_lost_its_lease_writes_nothing_and_leaves_the_message(bench: Bench) -> None:
    task = bench.put(new_task())

    def another_worker_takes_over() -> None:
        bench.clock.advance(LEASE)
        bench.table.claim(
            task.task_id,
            lease_owner="another",
            lease_until=bench.clock.now + LEASE,
            now=bench.clock.now,
        )

    bench.imaging = StubImaging(meanwhile=another_worker_takes_over)
    bench.process()
    row = bench.row(task)
    assert (row.status, row.attempt, row.lease_owner) == (Status.RUNNING, 2, "another")
    assert bench.cloud.messages()["queue"] == 1


@pytest.mark.parametrize("fetched", [None, SourceNotFound("It is gone.")], ids=["done", "failed"])
def test_a_beat_that_meets_the_end_of_the_attempt_takes_it_for_no_lost_lease(
    cloud: Cloud, clock: Clock, tmp_path: Path, fetched: AttemptError | None
) -> None:
    class BeatenTable(TaskTable):
        def complete(self, *end: Any, **when: Any) -> None:
            super().complete(*end, **when)
            wait(met.leases.beat())

        def fail(self, *end: Any, **when: Any) -> None:
            super().fail(*end, **when)
            wait(met.leases.beat())

    table = BeatenTable(
        cloud.dynamodb, table=cloud.resources.task_table, retention=timedelta(days=1)
    )
    met = Bench(cloud, table, clock, tmp_path)
    met.fetcher = StubFetcher(fetched)
    task = met.put(new_task())
    with structlog.testing.capture_logs() as entries:
        met.process()
    assert met.row(task).is_terminal()
    assert "lease lost" not in [entry["event"] for entry in entries]


def test_work_on_a_canceled_task_is_dropped_before_anything_is_stored(bench: Bench) -> None:
    task = bench.put(new_task())

    def client_cancels() -> None:
        bench.table.cancel(task.task_id, now=NOW)
        wait(bench.leases.beat())

    bench.imaging = StubImaging(meanwhile=client_cancels)
    bench.process()
    assert bench.row(task).status is Status.CANCELED
    assert bench.stored() == {}


def test_a_late_losers_result_never_takes_the_winners_place(bench: Bench) -> None:
    task = bench.put(new_task())

    def winner_runs() -> None:
        bench.clock.advance(LEASE)
        bench.queue.send(task.task_id, request_id="again")
        winner = Bench(bench.cloud, bench.table, bench.clock, bench.scratch)
        winner.lease_owners = (f"winner-{n}" for n in itertools.count())
        winner.process()

    bench.imaging = StubImaging(meanwhile=winner_runs)
    bench.process()
    row = bench.row(task)
    assert row.result is not None
    assert (row.status, row.result.key) == (Status.COMPLETED, f"results/{task.task_id}/2.png")
    assert bench.stored()[row.result.key] == IMAGE.body


def test_what_happened_can_be_followed_in_the_log(bench: Bench, logs: list[Any]) -> None:
    bench.clock.advance(timedelta(seconds=2))
    bench.put(new_task())
    bench.process()
    stages = {entry["stage"] for entry in logs if "duration_ms" in entry}
    assert stages == {"fetch", "image", "store", "total"}
    [claimed] = [entry for entry in logs if entry["event"] == "task claimed"]
    assert claimed["metrics"] == {Metric.FIRST_CLAIM_WAIT: 2000}


def test_a_task_that_waited_for_its_client_to_retry_it_is_not_late(
    bench: Bench, logs: list[Any]
) -> None:
    task = bench.put(new_task())
    bench.table.cancel(task.task_id, now=bench.clock.now)
    bench.clock.advance(timedelta(hours=20))
    bench.table.retry(task.task_id, policy=POLICY, now=bench.clock.now)
    bench.clock.advance(timedelta(seconds=2))
    bench.process()
    [claimed] = [entry for entry in logs if entry["event"] == "task claimed"]
    assert claimed["metrics"] == {Metric.FIRST_CLAIM_WAIT: 2000}


def test_a_damaged_image_is_counted_under_its_code(bench: Bench, logs: list[Any]) -> None:
    bench.imaging = StubImaging(error=ImageDamaged("The image ends in the middle."))
    bench.put(new_task())
    bench.process()
    [entry] = [entry for entry in logs if entry["event"] == "attempt failed"]
    assert entry["metrics"] == {Metric.ATTEMPTS_FAILED: 1, Metric.TASKS_FAILED: 1}
    assert entry["dimensions"] == {"FailureCode": "image_damaged"}
