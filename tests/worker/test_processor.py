"""Processing messages with a table, a queue and a bucket of moto, and stubs for the rest."""

import hashlib
import itertools
from collections.abc import Iterator
from concurrent.futures import wait
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from services.common.errors import (
    AttemptError,
    BucketUnavailable,
    ImageDamaged,
    ImagingBusy,
    ImagingCrashed,
    SourceNotFound,
    SourceUnavailable,
    TableUnavailable,
)
from services.common.result_bucket import ResultBucket
from services.common.task import Phase, Result, Status, Task
from services.common.task_queue import Message, TaskQueue
from services.common.task_record import to_item
from services.common.task_table import TaskTable
from services.common.telemetry import Metric
from services.worker.fetching.fetcher import Writable
from services.worker.lease import LeaseKeeper
from services.worker.processor import AttemptPolicy, Processor
from services.worker.result_memory import ResultMemory
from tests.conftest import Clock, Cloud
from tests.tasks import BACKOFF, LEASE, LIMITS, NOW, POLICY, envelope, new_task, task_in
from tests.worker.stubs import RESULT_IMAGE, SOURCE_BYTES, StubFetcher, StubImaging


class ProcessorHarness:
    """A processor with its dependencies, which a test may replace."""

    def __init__(self, cloud: Cloud, table: TaskTable, clock: Clock, scratch: Path) -> None:
        self.cloud, self.table, self.clock, self.scratch = cloud, table, clock, scratch
        self.queue = TaskQueue(cloud.sqs, url=cloud.resources.task_queue_url)
        self.dead_letters = TaskQueue(cloud.sqs, url=cloud.resources.dead_letter_queue_url)
        self.bucket = ResultBucket(cloud.s3, bucket=cloud.resources.result_bucket)
        self.fetcher = StubFetcher()
        self.imaging = StubImaging()
        self.lease_owners = (f"claim-{number}" for number in itertools.count(1))

    def processor(self) -> Processor:
        self.leases = LeaseKeeper(
            table=self.table,
            queue=self.queue,
            concurrency=1,
            duration=LEASE,
            interval=LEASE,
            clock=self.clock,
        )
        return Processor(
            table=self.table,
            queue=self.queue,
            dead_letters=self.dead_letters,
            delete=self.queue.delete,
            bucket=self.bucket,
            fetcher=self.fetcher,
            imaging=self.imaging,
            result_memory=ResultMemory(max_result_bytes=1024),
            leases=self.leases,
            policy=AttemptPolicy(budget=timedelta(seconds=90), backoff=BACKOFF, limits=LIMITS),
            scratch=self.scratch,
            clock=self.clock,
            jitter=lambda: 0.0,
            new_lease_owner=lambda: next(self.lease_owners),
        )

    def put(self, task: Task) -> Task:
        self.cloud.dynamodb.put_item(TableName=self.cloud.resources.task_table, Item=to_item(task))
        self.queue.send(envelope(task.task_id, request_id=task.request_id))
        return task

    def receive(self) -> Message:
        [self.message] = self.queue.receive(limit=1, wait_s=0)
        return self.message

    def process(self) -> None:
        """Receive the only visible message and process it."""
        self.processor().process(self.receive())

    def process_after(self, duration: timedelta) -> None:
        """Process the hidden message `duration` later. The clock of moto's queue stays behind."""
        self.clock.advance(duration)
        self.queue.change_visibility(self.message, timeout_s=0)
        self.process()

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
def harness(cloud: Cloud, table: TaskTable, clock: Clock, tmp_path: Path) -> ProcessorHarness:
    return ProcessorHarness(cloud, table, clock, tmp_path)


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as entries:
        yield entries


def test_processing_a_message_completes_the_task_and_deletes_the_message(
    harness: ProcessorHarness,
) -> None:
    task = harness.put(new_task())
    harness.process()
    row = harness.row(task)
    assert row.status is Status.COMPLETED
    assert row.result == Result(
        key=f"results/{task.task_id}/1.png",
        content_type="image/png",
        size_bytes=len(RESULT_IMAGE.body),
        width=4,
        height=3,
        sha256=hashlib.sha256(RESULT_IMAGE.body).hexdigest(),
    )
    assert harness.fetcher.urls == [task.input_image_url]
    assert harness.imaging.sources == [SOURCE_BYTES]
    assert harness.stored() == {row.result.key: RESULT_IMAGE.body}
    assert harness.cloud.messages() == {"queue": 0, "dead letters": 0}
    assert list(harness.scratch.iterdir()) == []


def test_a_client_error_fails_the_task_without_a_retry(harness: ProcessorHarness) -> None:
    harness.fetcher = StubFetcher(SourceNotFound("The server has no such image."))
    task = harness.put(new_task())
    harness.process()
    row = harness.row(task)
    assert (row.status, row.will_retry, row.attempt) == (Status.FAILED, False, 1)
    assert row.failure_code == "source_not_found"
    assert row.failure_reason == "The server has no such image."
    assert harness.cloud.messages() == {"queue": 0, "dead letters": 0}


def test_a_source_error_is_retried_until_the_source_recovers(harness: ProcessorHarness) -> None:
    harness.fetcher = StubFetcher(SourceUnavailable("503"))
    task = harness.put(new_task())
    harness.process()
    row = harness.row(task)
    assert (row.status, row.will_retry) == (Status.FAILED, True)
    harness.fetcher = StubFetcher()
    harness.process_after(BACKOFF.base)
    row = harness.row(task)
    assert (row.status, row.will_retry, row.attempt) == (Status.COMPLETED, False, 2)
    assert (row.failure_code, row.next_attempt_at) == (None, None)
    assert harness.cloud.messages()["queue"] == 0


def test_a_source_that_never_recovers_fails_the_task_without_a_dead_letter(
    harness: ProcessorHarness,
) -> None:
    harness.fetcher = StubFetcher(SourceUnavailable("503"))
    task = harness.put(new_task(source_failures=LIMITS.source_failures - 1))
    harness.process()
    row = harness.row(task)
    assert (row.status, row.will_retry) == (Status.FAILED, False)
    assert row.source_failures == LIMITS.source_failures
    assert harness.cloud.messages() == {"queue": 0, "dead letters": 0}


def test_an_image_that_always_crashes_its_process_becomes_a_dead_letter(
    harness: ProcessorHarness,
) -> None:
    harness.imaging = StubImaging(error=ImagingCrashed("The child crashed."))
    task = harness.put(new_task())
    harness.process()
    for _ in range(LIMITS.crashes - 1):
        harness.process_after(BACKOFF.cap)
    row = harness.row(task)
    assert (row.status, row.will_retry) == (Status.FAILED, False)
    assert row.failure_code == "imaging_crashed"
    assert harness.cloud.messages() == {"queue": 0, "dead letters": 1}


def test_attempts_that_were_given_back_cost_a_task_nothing(harness: ProcessorHarness) -> None:
    """Neither a stopping worker nor one without a free imaging process counts."""
    task = harness.put(new_task())
    harness.imaging = StubImaging(meanwhile=lambda: harness.leases.release_all())  # noqa: PLW0108 - set later
    harness.process()
    for _ in range(20):
        harness.process_after(timedelta())
        row = harness.row(task)
        assert (row.status, row.lease_owner) == (Status.PENDING, None)
    harness.imaging = StubImaging(error=ImagingBusy("All are busy.", retry_after_s=5))
    for _ in range(20):
        harness.process_after(timedelta(seconds=5))
        row = harness.row(task)
        assert (row.status, row.failure_code) == (Status.PENDING, "imaging_busy")
    harness.imaging = StubImaging()
    harness.process_after(timedelta(seconds=5))
    row = harness.row(task)
    assert (row.status, row.attempt, row.expired_leases) == (Status.COMPLETED, 42, 0)
    assert harness.cloud.messages() == {"queue": 0, "dead letters": 0}


def test_a_message_that_comes_before_the_next_attempt_may_start_is_hidden(
    harness: ProcessorHarness,
) -> None:
    task = harness.put(new_task(next_attempt_at=NOW + LEASE))
    harness.process()
    assert harness.row(task) == task
    assert harness.queue.backlog().in_flight == 1
    harness.process_after(LEASE)
    assert harness.row(task).status is Status.COMPLETED


def test_the_message_of_a_task_with_a_long_wait_is_deleted_and_the_row_is_unsent(
    harness: ProcessorHarness,
) -> None:
    harness.fetcher = StubFetcher(SourceUnavailable("429", retry_after_s=3_600))
    task = harness.put(new_task())
    harness.process()
    row = harness.row(task)
    until = NOW + timedelta(hours=1)
    assert (row.status, row.will_retry, row.unsent) == (Status.FAILED, True, True)
    assert (row.next_attempt_at, row.check_at) == (until, until)
    assert harness.cloud.messages()["queue"] == 0
    # A duplicate of the deleted message is not needed either.
    harness.queue.send(envelope(task.task_id, request_id="duplicate"))
    harness.process()
    assert harness.row(task) == row
    assert harness.cloud.messages()["queue"] == 0


def test_the_row_of_a_newer_version_is_left_alone_and_tried_again_later(
    harness: ProcessorHarness,
) -> None:
    item = {**to_item(new_task()), "status": {"S": "PAUSED"}}
    table = harness.cloud.resources.task_table
    harness.cloud.dynamodb.put_item(TableName=table, Item=item)
    harness.queue.send(envelope(new_task().task_id, request_id="r"))
    harness.process()
    assert harness.cloud.dynamodb.scan(TableName=table)["Items"] == [item]
    assert harness.queue.backlog().in_flight == 1


def test_a_bug_fails_the_attempt_and_logs_its_traceback(
    harness: ProcessorHarness, logs: list[Any]
) -> None:
    harness.imaging = StubImaging(error=ZeroDivisionError("secret detail"))
    task = harness.put(new_task())
    harness.process()
    row = harness.row(task)
    assert (row.failure_code, row.will_retry) == ("internal_error", True)
    assert "secret detail" not in (row.failure_reason or "")
    [entry] = [entry for entry in logs if entry["event"] == "attempt failed"]
    assert isinstance(entry["exc_info"].__cause__, ZeroDivisionError)


def test_a_bucket_error_fails_the_attempt(harness: ProcessorHarness) -> None:
    class ThrottledBucket(ResultBucket):
        def put(self, key: str, body: bytes, *, content_type: str) -> None:
            raise BucketUnavailable("PutObject: SlowDown")

    harness.bucket = ThrottledBucket(harness.cloud.s3, bucket=harness.cloud.resources.result_bucket)
    task = harness.put(new_task())
    harness.process()
    row = harness.row(task)
    assert (row.status, row.failure_code, row.will_retry) == (
        Status.FAILED,
        "storage_failed",
        True,
    )


def test_a_table_error_leaves_the_message_in_the_queue(harness: ProcessorHarness) -> None:
    class UnreachableTable(TaskTable):
        def complete(self, *_: Any, **__: Any) -> None:
            raise TableUnavailable("UpdateItem: ThrottlingException")

    table = harness.table
    harness.table = UnreachableTable(
        harness.cloud.dynamodb, table=harness.cloud.resources.task_table, retention=timedelta(1)
    )
    task = harness.put(new_task())
    with pytest.raises(TableUnavailable):
        harness.process()
    assert harness.cloud.messages()["queue"] == 1
    row = table.get(task.task_id)
    assert row is not None
    assert row.status is Status.RUNNING


@pytest.mark.parametrize("phase", [Phase.COMPLETED, Phase.CANCELED, Phase.FAILED])
def test_the_message_of_a_finished_task_is_deleted(harness: ProcessorHarness, phase: Phase) -> None:
    task = harness.put(task_in(phase))
    harness.process()
    assert harness.row(task) == task
    assert harness.fetcher.urls == []
    assert harness.cloud.messages() == {"queue": 0, "dead letters": 0}


def test_a_duplicate_message_of_a_leased_task_is_hidden_until_the_lease_ends(
    harness: ProcessorHarness,
) -> None:
    task = harness.put(task_in(Phase.LEASED, lease_until=NOW + LEASE))
    harness.process()
    assert harness.row(task) == task
    backlog = harness.queue.backlog()
    assert (backlog.visible, backlog.in_flight) == (0, 1)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"expired_leases": LIMITS.expired_leases}, "attempts_exhausted"),
        ({"deadline_at": NOW}, "deadline_passed"),
    ],
)
def test_a_task_without_attempts_or_time_fails_when_its_message_arrives(
    harness: ProcessorHarness, changes: dict[str, Any], code: str
) -> None:
    task = harness.put(task_in(Phase.ABANDONED, **changes))
    harness.process()
    row = harness.row(task)
    assert (row.status, row.failure_code) == (Status.FAILED, code)
    assert harness.cloud.messages() == {"queue": 0, "dead letters": 1}


@pytest.mark.parametrize(
    "body", ["", "not JSON", "{}", "[]", "[" * 100_000, '{"taskId": "no-such-task"}']
)
def test_a_malformed_message_or_one_for_an_unknown_task_becomes_a_dead_letter(
    harness: ProcessorHarness, body: str
) -> None:
    harness.cloud.sqs.send_message(
        QueueUrl=harness.cloud.resources.task_queue_url, MessageBody=body or " "
    )
    harness.process()
    assert harness.cloud.messages() == {"queue": 0, "dead letters": 1}
    [dead_letter] = harness.dead_letters.receive(limit=1, wait_s=0)
    assert dead_letter.body == (body or " ")


def test_a_worker_that_lost_its_lease_changes_neither_the_row_nor_the_message(
    harness: ProcessorHarness,
) -> None:
    task = harness.put(new_task())

    def another_worker_takes_over() -> None:
        harness.clock.advance(LEASE)
        harness.table.take_over(
            task.task_id,
            lease_owner="another",
            lease_until=harness.clock.now + LEASE,
            now=harness.clock.now,
            limits=LIMITS,
        )

    harness.imaging = StubImaging(meanwhile=another_worker_takes_over)
    harness.process()
    row = harness.row(task)
    assert (row.status, row.attempt, row.lease_owner) == (Status.RUNNING, 2, "another")
    assert row.expired_leases == 1
    assert harness.cloud.messages()["queue"] == 1


@pytest.mark.parametrize("error", [None, SourceNotFound("It is gone.")], ids=["done", "failed"])
def test_a_heartbeat_after_the_last_write_logs_no_lost_lease(
    cloud: Cloud, clock: Clock, tmp_path: Path, error: AttemptError | None
) -> None:
    class TableWithLateHeartbeats(TaskTable):
        def complete(self, *args: Any, **kwargs: Any) -> None:
            super().complete(*args, **kwargs)
            wait(own_harness.leases.heartbeat())

        def fail(self, *args: Any, **kwargs: Any) -> None:
            super().fail(*args, **kwargs)
            wait(own_harness.leases.heartbeat())

    table = TableWithLateHeartbeats(
        cloud.dynamodb, table=cloud.resources.task_table, retention=timedelta(days=1)
    )
    own_harness = ProcessorHarness(cloud, table, clock, tmp_path)
    own_harness.fetcher = StubFetcher(error)
    task = own_harness.put(new_task())
    with structlog.testing.capture_logs() as entries:
        own_harness.process()
    assert own_harness.row(task).is_terminal()
    assert "lease lost" not in [entry["event"] for entry in entries]


def test_nothing_is_stored_for_a_canceled_task(harness: ProcessorHarness) -> None:
    task = harness.put(new_task())

    def client_cancels() -> None:
        harness.table.cancel(task.task_id, now=NOW)
        wait(harness.leases.heartbeat())

    harness.imaging = StubImaging(meanwhile=client_cancels)
    harness.process()
    assert harness.row(task).status is Status.CANCELED
    assert harness.stored() == {}


def test_a_result_that_no_row_names_is_deleted(harness: ProcessorHarness) -> None:
    task = harness.put(new_task())

    class CanceledMeanwhile(ResultBucket):
        def put(self, key: str, body: bytes, *, content_type: str) -> None:
            super().put(key, body, content_type=content_type)
            harness.table.cancel(task.task_id, now=NOW)

    harness.bucket = CanceledMeanwhile(
        harness.cloud.s3, bucket=harness.cloud.resources.result_bucket
    )
    harness.process()
    assert harness.row(task).status is Status.CANCELED
    assert harness.stored() == {}


def test_a_heartbeat_ends_the_download_and_the_processing_of_a_canceled_task(
    harness: ProcessorHarness,
) -> None:
    task = harness.put(new_task())
    written: list[int] = []

    class DrippingFetcher(StubFetcher):
        def fetch(self, url: str, *, into: Writable, timeout_s: float) -> int:
            written.append(into.write(b"first"))
            harness.table.cancel(task.task_id, now=NOW)
            wait(harness.leases.heartbeat())
            written.append(into.write(b"second"))
            return sum(written)

    harness.fetcher = DrippingFetcher()
    harness.process()
    assert written == [len(b"first")]
    assert harness.imaging.sources == []
    assert harness.row(task).status is Status.CANCELED


def test_a_late_result_does_not_replace_the_winning_attempts_result(
    harness: ProcessorHarness,
) -> None:
    task = harness.put(new_task())

    def another_worker_completes_the_task() -> None:
        harness.clock.advance(LEASE)
        harness.queue.send(envelope(task.task_id, request_id="again"))
        winner = ProcessorHarness(harness.cloud, harness.table, harness.clock, harness.scratch)
        winner.lease_owners = (f"winner-{n}" for n in itertools.count())
        winner.process()

    harness.imaging = StubImaging(meanwhile=another_worker_completes_the_task)
    harness.process()
    row = harness.row(task)
    assert row.result is not None
    assert (row.status, row.result.key) == (Status.COMPLETED, f"results/{task.task_id}/2.png")
    assert harness.stored() == {row.result.key: RESULT_IMAGE.body}


def test_the_log_shows_the_wait_and_the_duration_of_each_stage(
    harness: ProcessorHarness, logs: list[Any]
) -> None:
    harness.clock.advance(timedelta(seconds=2))
    harness.put(new_task())
    harness.process()
    stages = {entry["stage"] for entry in logs if "duration_ms" in entry}
    assert stages == {"fetch", "image", "store", "total"}
    [claimed] = [entry for entry in logs if entry["event"] == "task claimed"]
    assert claimed["metrics"] == {Metric.FIRST_CLAIM_WAIT: 2000}


def test_the_logged_wait_of_a_retried_task_starts_with_the_retry(
    harness: ProcessorHarness, logs: list[Any]
) -> None:
    task = harness.put(new_task())
    harness.table.cancel(task.task_id, now=harness.clock.now)
    harness.clock.advance(timedelta(hours=20))
    harness.table.retry(task.task_id, policy=POLICY, now=harness.clock.now)
    harness.clock.advance(timedelta(seconds=2))
    harness.process()
    [claimed] = [entry for entry in logs if entry["event"] == "task claimed"]
    assert claimed["metrics"] == {Metric.FIRST_CLAIM_WAIT: 2000}


def test_a_failed_task_is_counted_by_its_failure_code(
    harness: ProcessorHarness, logs: list[Any]
) -> None:
    harness.imaging = StubImaging(error=ImageDamaged("The image is truncated."))
    harness.put(new_task())
    harness.process()
    [entry] = [entry for entry in logs if entry["event"] == "attempt failed"]
    assert entry["metrics"] == {Metric.ATTEMPTS_FAILED: 1, Metric.TASKS_FAILED: 1}
    assert entry["dimensions"] == {"FailureCode": "image_damaged"}
