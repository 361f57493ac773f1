"""A deployment that is hurt by AWS and judged by who looks past the trouble."""

import itertools
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from local import aws_resources
from services.api.app import create_app
from services.api.key_ring import ApiKeysSecret, KeyRing
from services.api.readiness import Readiness
from services.api.submission_limiter import SubmissionCounter, SubmissionLimiter
from services.common.aws import Aws
from services.common.config import ApiConfig
from services.common.result_bucket import ResultBucket
from services.common.task import Backoff, Task
from services.common.task_queue import Message, TaskQueue
from services.common.task_table import TaskTable
from services.worker.lease import LeaseKeeper
from services.worker.processor import AttemptPolicy, Processor
from services.worker.reconciler import ReconcilePolicy, Reconciler
from tests.api.conftest import KEYS, Api
from tests.aws_trouble.faults import Kind, Service, Trouble
from tests.aws_trouble.hook import put_between
from tests.conftest import Clock, Cloud
from tests.tasks import LEASE, POLICY
from tests.worker.test_processor import StubFetcher, StubImaging

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_s3 import S3Client
    from types_boto3_secretsmanager import SecretsManagerClient
    from types_boto3_sqs import SQSClient

Client = TypeVar("Client")

BACKOFF = Backoff(base=timedelta(seconds=5), cap=timedelta(seconds=300))


class Parts:
    """Table, queues, bucket and secret over one set of clients."""

    def __init__(
        self,
        resources: aws_resources.Resources,
        *,
        dynamodb: "DynamoDBClient",
        sqs: "SQSClient",
        s3: "S3Client",
        secretsmanager: "SecretsManagerClient",
    ) -> None:
        self.dynamodb = dynamodb
        self.table = TaskTable(dynamodb, table=resources.task_table, retention=POLICY.retention)
        self.queue = TaskQueue(sqs, url=resources.task_queue_url)
        self.dead_letters = TaskQueue(sqs, url=resources.dead_letter_queue_url)
        self.bucket = ResultBucket(s3, bucket=resources.result_bucket)
        self.secret = ApiKeysSecret(secretsmanager, secret_id=resources.api_keys_secret_id)


class World:
    """`hurt` are the parts of those whose calls go wrong, `well` of who looks on."""

    def __init__(self, *, aws: Aws, cloud: Cloud, clock: Clock, scratch: Path) -> None:
        self.trouble: Trouble | None = None
        self.cloud = cloud
        self.clock = clock
        self.scratch = scratch
        self.well = Parts(
            cloud.resources,
            dynamodb=cloud.dynamodb,
            sqs=cloud.sqs,
            s3=cloud.s3,
            secretsmanager=cloud.secretsmanager,
        )
        self.hurt = Parts(
            cloud.resources,
            dynamodb=self._troubled(aws.dynamodb(), Service.DYNAMODB),
            sqs=self._troubled(aws.sqs(), Service.SQS),
            s3=self._troubled(aws.s3(), Service.S3),
            secretsmanager=self._troubled(aws.secretsmanager(), Service.SECRETS_MANAGER),
        )
        self.fetcher = StubFetcher()
        self.imaging = StubImaging()
        self._names = (f"name-{number}" for number in itertools.count(1))
        self._ids = (str(UUID(int=number, version=4)) for number in itertools.count(1))

    # ── Trouble ───────────────────────────────────────────────────────────────────────────────

    def let(
        self,
        kind: Kind,
        service: Service,
        operation: str | None = None,
        *,
        invocation: int | None = None,
        tries: int | None = None,
    ) -> Trouble:
        """From now on such calls go wrong, until `heal`."""
        self.trouble = Trouble(kind, service, operation, invocation, tries)
        return self.trouble

    def heal(self) -> None:
        self.trouble = None

    def _troubled(self, client: Client, service: Service) -> Client:
        put_between(client, service=service, trouble=lambda: self.trouble)
        return client

    # ── Those who are hurt ────────────────────────────────────────────────────────────────────

    def api(self) -> Api:
        resources = self.cloud.resources
        keys = KeyRing(read=lambda: json.dumps(KEYS), max_age_s=900)
        keys.refresh()
        config = ApiConfig(
            aws_region="us-east-1",
            task_table=resources.task_table,
            task_queue_url=resources.task_queue_url,
            result_bucket=resources.result_bucket,
            api_keys_secret_id=resources.api_keys_secret_id,
        )
        app = create_app(
            config=config,
            table=self.hurt.table,
            queue=self.hurt.queue,
            bucket=self.hurt.bucket,
            keys=keys,
            limiter=SubmissionLimiter(
                counter=SubmissionCounter(self.hurt.dynamodb, table=resources.task_table),
                limit=config.submissions_per_minute,
                clock=self.clock,
            ),
            readiness=Readiness({"table": lambda: None}),
            clock=self.clock,
            new_id=lambda: next(self._ids),
        )
        return Api(app)

    def leases(self, parts: Parts, *, interval: timedelta = LEASE / 3) -> LeaseKeeper:
        return LeaseKeeper(
            table=parts.table,
            queue=parts.queue,
            at_once=2,
            duration=LEASE,
            interval=interval,
            clock=self.clock,
        )

    def processor(self, parts: Parts) -> Processor:
        return Processor(
            table=parts.table,
            queue=parts.queue,
            bucket=parts.bucket,
            fetcher=self.fetcher,
            imaging=self.imaging,
            leases=self.leases(parts),
            policy=AttemptPolicy(budget=timedelta(seconds=90), backoff=BACKOFF),
            scratch=self.scratch,
            clock=self.clock,
            jitter=lambda: 0.0,
            new_lease_owner=lambda: next(self._names),
        )

    def reconciler(self, parts: Parts) -> Reconciler:
        return Reconciler(
            name=next(self._names),
            table=parts.table,
            queue=parts.queue,
            dead_letters=parts.dead_letters,
            policy=ReconcilePolicy(lease=LEASE, longest_backoff=BACKOFF.cap, max_backlog=50),
            clock=self.clock,
            shuffle=lambda _: None,
        )

    # ── Looking from outside ──────────────────────────────────────────────────────────────────

    def row(self, task_id: str) -> Task:
        row = self.well.table.get(task_id)
        assert row is not None
        return row

    def rows(self) -> int:
        """Tasks, without the counters of submissions that lie beside them."""
        items = self.cloud.dynamodb.scan(TableName=self.cloud.resources.task_table)["Items"]
        return sum("status" in item for item in items)

    def messages(self) -> int:
        """In the queue, in any state."""
        backlog = self.well.queue.backlog()
        return backlog.visible + backlog.in_flight + backlog.delayed

    def receive(self) -> Message:
        [message] = self.well.queue.receive(limit=1, wait_s=0)
        return message

    def stored(self, task: Task) -> bytes:
        """The result that the row names."""
        assert task.result is not None
        answer = self.cloud.s3.get_object(
            Bucket=self.cloud.resources.result_bucket, Key=task.result.key
        )
        return answer["Body"].read()

    def work(self) -> None:
        """An unhurt worker does what waits in the queue, until nothing does."""
        while messages := self.well.queue.receive(limit=10, wait_s=0):
            for message in messages:
                self.processor(self.well).process(message)

    def finish(self, task_id: str, *, show: Callable[[], object] = lambda: None) -> Task:
        """The trouble is over, leases end and looks fall due; `show` ends a visibility timeout."""
        self.heal()
        for _ in range(3):
            show()
            self.work()
            row = self.row(task_id)
            if row.is_terminal():
                break
            self.clock.advance(4 * POLICY.first_check)
            self.reconciler(self.well).run()
        return self.row(task_id)
