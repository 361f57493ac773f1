"""API, worker and reconciler over clients whose calls fail, observed over clients that work."""

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
from services.common.task import Task
from services.common.task_queue import Message, TaskQueue
from services.common.task_record import to_item
from services.common.task_table import TaskTable
from services.worker.lease import LeaseKeeper
from services.worker.processor import AttemptPolicy, Processor
from services.worker.reconciler import ReconcilePolicy, Reconciler
from services.worker.result_memory import ResultMemory
from tests.api.conftest import KEYS, Api
from tests.aws_faults.botocore_faults import inject_faults
from tests.aws_faults.faults import FaultKind, FaultRule, Service
from tests.conftest import Clock, Cloud
from tests.tasks import BACKOFF, LEASE, LIMITS, POLICY
from tests.worker.stubs import StubFetcher, StubImaging

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_s3 import S3Client
    from types_boto3_secretsmanager import SecretsManagerClient
    from types_boto3_sqs import SQSClient

Client = TypeVar("Client")


class Adapters:
    """The table, queues, bucket and secret over one set of clients."""

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


class FaultySystem:
    """The calls of `faulty` fail as a test says. Those of `healthy` always work."""

    def __init__(self, *, aws: Aws, cloud: Cloud, clock: Clock, scratch: Path) -> None:
        self.rule: FaultRule | None = None
        self.cloud = cloud
        self.clock = clock
        self.scratch = scratch
        self.healthy = Adapters(
            cloud.resources,
            dynamodb=cloud.dynamodb,
            sqs=cloud.sqs,
            s3=cloud.s3,
            secretsmanager=cloud.secretsmanager,
        )
        self.faulty = Adapters(
            cloud.resources,
            dynamodb=self._with_faults(aws.dynamodb(), Service.DYNAMODB),
            sqs=self._with_faults(aws.sqs(), Service.SQS),
            s3=self._with_faults(aws.s3(), Service.S3),
            secretsmanager=self._with_faults(aws.secretsmanager(), Service.SECRETS_MANAGER),
        )
        self.fetcher = StubFetcher()
        self.imaging = StubImaging()
        self._names = (f"name-{number}" for number in itertools.count(1))
        self._ids = (str(UUID(int=number, version=4)) for number in itertools.count(1))

    # ── Faults ────────────────────────────────────────────────────────────────────────────────

    def inject(
        self,
        kind: FaultKind,
        service: Service,
        operation: str | None = None,
        *,
        invocation: int | None = None,
        tries: int | None = None,
    ) -> FaultRule:
        """Fail matching calls until `remove_fault`. Replaces the current rule."""
        self.rule = FaultRule(kind, service, operation, invocation, tries)
        return self.rule

    def remove_fault(self) -> None:
        self.rule = None

    def _with_faults(self, client: Client, service: Service) -> Client:
        inject_faults(client, service=service, current_rule=lambda: self.rule)
        return client

    # ── The system ────────────────────────────────────────────────────────────────────────────

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
            table=self.faulty.table,
            queue=self.faulty.queue,
            bucket=self.faulty.bucket,
            keys=keys,
            limiter=SubmissionLimiter(
                counter=SubmissionCounter(self.faulty.dynamodb, table=resources.task_table),
                limit=config.submissions_per_minute,
                clock=self.clock,
            ),
            readiness=Readiness({"table": lambda: None}),
            clock=self.clock,
            new_id=lambda: next(self._ids),
        )
        return Api(app)

    def leases(self, adapters: Adapters, *, interval: timedelta = LEASE / 3) -> LeaseKeeper:
        return LeaseKeeper(
            table=adapters.table,
            queue=adapters.queue,
            concurrency=2,
            duration=LEASE,
            interval=interval,
            clock=self.clock,
        )

    def processor(self, adapters: Adapters) -> Processor:
        return Processor(
            table=adapters.table,
            queue=adapters.queue,
            dead_letters=adapters.dead_letters,
            delete=adapters.queue.delete,
            bucket=adapters.bucket,
            fetcher=self.fetcher,
            imaging=self.imaging,
            result_memory=ResultMemory(max_result_bytes=1024),
            leases=self.leases(adapters),
            policy=AttemptPolicy(budget=timedelta(seconds=90), backoff=BACKOFF, limits=LIMITS),
            scratch=self.scratch,
            clock=self.clock,
            jitter=lambda: 0.0,
            new_lease_owner=lambda: next(self._names),
        )

    def reconciler(self, adapters: Adapters) -> Reconciler:
        return Reconciler(
            name=next(self._names),
            table=adapters.table,
            queue=adapters.queue,
            dead_letters=adapters.dead_letters,
            policy=ReconcilePolicy(
                lease=LEASE,
                recheck=POLICY.first_check,
                count_lag=timedelta(minutes=1),
                limits=LIMITS,
            ),
            clock=self.clock,
            shuffle=lambda _: None,
        )

    # ── Direct access ─────────────────────────────────────────────────────────────────────────

    def write(self, row: Task) -> None:
        self.cloud.dynamodb.put_item(TableName=self.cloud.resources.task_table, Item=to_item(row))

    def row(self, task_id: str) -> Task:
        row = self.healthy.table.get(task_id)
        assert row is not None
        return row

    def count_tasks(self) -> int:
        """Rows of tasks. The same table holds the counters of the submission limiter."""
        items = self.cloud.dynamodb.scan(TableName=self.cloud.resources.task_table)["Items"]
        return sum("status" in item for item in items)

    def count_messages(self) -> int:
        """Messages in the queue, in any state."""
        backlog = self.healthy.queue.backlog()
        return backlog.visible + backlog.in_flight + backlog.delayed

    def receive(self) -> Message:
        [message] = self.healthy.queue.receive(limit=1, wait_s=0)
        return message

    def stored(self, task: Task) -> bytes:
        """The result that the row names."""
        assert task.result is not None
        response = self.cloud.s3.get_object(
            Bucket=self.cloud.resources.result_bucket, Key=task.result.key
        )
        return response["Body"].read()

    def process_queue(self) -> None:
        """Process messages without faults until the queue has no visible ones."""
        while messages := self.healthy.queue.receive(limit=10, wait_s=0):
            for message in messages:
                self.processor(self.healthy).process(message)

    def finish(self, task_id: str, *, show: Callable[[], object] = lambda: None) -> Task:
        """Run worker and reconciler without faults, and let leases and checks come due.

        `show` ends the visibility timeout of the task's message.
        """
        self.remove_fault()
        for _ in range(3):
            show()
            self.process_queue()
            row = self.row(task_id)
            if row.is_terminal():
                break
            self.clock.advance(2 * POLICY.first_check)
            self.reconciler(self.healthy).run()
        return self.row(task_id)
