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
from services.worker.lease import LeaseKeeper
from services.worker.processor import AttemptPolicy, Processor
from tests.conftest import Clock, Cloud
from tests.tasks import LEASE, NOW, POLICY, new_task, task_in
from tests.worker.stubs import RESULT_IMAGE, SOURCE_BYTES, StubFetcher, StubImaging


class ProcessorHarness:
    """A processor with its dependencies, which a test may replace."""

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
            concurrency=1,
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
        """Receive the only visible message and process it."""
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
    harness.process()
    row = harness.row(task)
    assert (row.status, row.will_retry, row.attempt) == (Status.COMPLETED, False, 2)
    assert row.failure_code is None
    assert harness.cloud.messages()["queue"] == 0


def test_a_source_that_never_recovers_fails_the_task_without_a_dead_letter(
    harness: ProcessorHarness,
) -> None:
    harness.fetcher = StubFetcher(SourceUnavailable("503"))
    task = harness.put(new_task())
    for _ in range(5):
        harness.process()
    row = harness.row(task)
    assert (row.status, row.will_retry, row.attempt) == (Status.FAILED, False, 5)
    assert harness.cloud.messages() == {"queue": 0, "dead letters": 0}


def test_an_internal_error_becomes_a_dead_letter_after_the_last_attempt(
    harness: ProcessorHarness,
) -> None:
    harness.imaging = StubImaging(error=ImagingCrashed("The child crashed."))
    task = harness.put(new_task())
    for _ in range(5):
        harness.process()
    row = harness.row(task)
    assert (row.status, row.will_retry) == (Status.FAILED, False)
    assert row.failure_code == "imaging_crashed"
    while harness.cloud.messages()["queue"]:
        for message in harness.queue.receive(limit=1, wait_s=0):
            harness.processor().process(message)
    assert harness.cloud.messages() == {"queue": 0, "dead letters": 1}
    assert harness.row(task) == row


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
    [({"attempt": 5}, "attempts_exhausted"), ({"deadline_at": NOW}, "deadline_passed")],
)
def test_a_task_without_attempts_or_time_fails_when_its_message_arrives(
    harness: ProcessorHarness, changes: dict[str, Any], code: str
) -> None:
    task = harness.put(task_in(Phase.ABANDONED, **changes))
    harness.process()
    row = harness.row(task)
    assert (row.status, row.failure_code) == (Status.FAILED, code)
    assert harness.cloud.messages()["queue"] == 1, "it must stay for the dead-letter queue"


@pytest.mark.parametrize(
    "body", ["", "not JSON", "{}", "[]", "[" * 100_000, '{"taskId": "no-such-task"}']
)
def test_a_malformed_message_or_one_for_an_unknown_task_becomes_a_dead_letter(
    harness: ProcessorHarness, body: str
) -> None:
    harness.cloud.sqs.send_message(
        QueueUrl=harness.cloud.resources.task_queue_url, MessageBody=body or " "
    )
    for _ in range(15):
        harness.process()
    assert harness.queue.receive(limit=1, wait_s=0) == []
    assert harness.cloud.messages() == {"queue": 0, "dead letters": 1}


def test_a_worker_that_lost_its_lease_changes_neither_the_row_nor_the_message(
    harness: ProcessorHarness,
) -> None:
    task = harness.put(new_task())

    def another_worker_takes_over() -> None:
        harness.clock.advance(LEASE)
        harness.table.claim(
            task.task_id,
            lease_owner="another",
            lease_until=harness.clock.now + LEASE,
            now=harness.clock.now,
        )

    harness.imaging = StubImaging(meanwhile=another_worker_takes_over)
    harness.process()
    row = harness.row(task)
    assert (row.status, row.attempt, row.lease_owner) == (Status.RUNNING, 2, "another")
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


def test_a_late_result_does_not_replace_the_winning_attempts_result(
    harness: ProcessorHarness,
) -> None:
    task = harness.put(new_task())

    def another_worker_completes_the_task() -> None:
        harness.clock.advance(LEASE)
        harness.queue.send(task.task_id, request_id="again")
        winner = ProcessorHarness(harness.cloud, harness.table, harness.clock, harness.scratch)
        winner.lease_owners = (f"winner-{n}" for n in itertools.count())
        winner.process()

    harness.imaging = StubImaging(meanwhile=another_worker_completes_the_task)
    harness.process()
    row = harness.row(task)
    assert row.result is not None
    assert (row.status, row.result.key) == (Status.COMPLETED, f"results/{task.task_id}/2.png")
    assert harness.stored()[row.result.key] == RESULT_IMAGE.body


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
