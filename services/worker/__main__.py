"""The worker image's commands: ``python -m services.worker run | reconcile | health``."""

import argparse
import random
import secrets
import signal
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import structlog
from pydantic import ValidationError

from services.common import telemetry
from services.common.aws import Aws, CallLimits
from services.common.clock import utc_now
from services.common.config import ReconcilerConfig, WorkerConfig
from services.common.errors import AwsError
from services.common.job_queue import JobQueue
from services.common.result_bucket import ResultBucket
from services.common.task import Backoff
from services.common.task_table import TaskTable
from services.worker.consumer import Consumer
from services.worker.fetch import FetchPolicy, GuardedFetcher
from services.worker.health import HealthFile, healthy_within_s
from services.worker.imaging import ImagingLimits, ImagingPool
from services.worker.lease import LeaseKeeper
from services.worker.processor import AttemptPolicy, Processor
from services.worker.reconcile import ReconcilePolicy, Reconciler

log = structlog.get_logger()

CALLS_OF_A_TASK = 5
"""Beside its budget and the store: claim, final write, the two of a heartbeat that comes in
between, and what settles the message."""
STOP_MARGIN_S = 10
"""Kept from the stop timeout for giving back what did not finish."""


def run(config: WorkerConfig) -> int:
    """Work until SIGTERM or SIGINT; 0 when everything was finished or given back."""
    telemetry.configure(
        service="worker",
        environment=config.taskfleet_environment,
        log_format=config.log_format,
    )
    # For each task its own thread and its heartbeat's.
    aws = Aws(region=config.aws_region, connections=2 * config.worker_concurrency)
    table = TaskTable(
        aws.dynamodb(),
        table=config.task_table,
        retention=timedelta(seconds=config.row_retention_s),
    )
    queue = JobQueue(aws.sqs(), url=config.task_queue_url)
    leases = LeaseKeeper(
        table=table,
        queue=queue,
        at_once=config.worker_concurrency,
        duration=timedelta(seconds=config.lease_s),
        interval=timedelta(seconds=config.heartbeat_interval_s),
        clock=utc_now,
    )
    imaging = ImagingPool(
        limits=ImagingLimits(
            memory_bytes=config.imaging_memory_bytes,
            timeout_s=config.imaging_timeout_s,
            max_pixels=config.imaging_max_pixels,
        ),
        processes=config.imaging_processes,
    )
    fetcher = GuardedFetcher(
        policy=FetchPolicy(
            max_bytes=config.fetch_max_bytes,
            timeout_s=config.fetch_timeout_s,
            max_redirects=config.fetch_max_redirects,
            allowed_ports=config.fetch_allowed_ports,
            allowed_networks=config.fetch_allowed_networks,
        )
    )
    with tempfile.TemporaryDirectory(prefix="taskfleet-") as scratch:
        processor = Processor(
            table=table,
            queue=queue,
            bucket=ResultBucket(aws.s3(), bucket=config.result_bucket),
            fetcher=fetcher,
            imaging=imaging,
            leases=leases,
            policy=AttemptPolicy(
                budget=timedelta(seconds=config.processing_budget_s),
                backoff=Backoff(
                    base=timedelta(seconds=config.retry_backoff_base_s),
                    cap=timedelta(seconds=config.retry_backoff_cap_s),
                ),
            ),
            scratch=Path(scratch),
            clock=utc_now,
            jitter=random.random,
            new_lease_owner=lambda: secrets.token_urlsafe(12),
        )
        consumer = Consumer(
            queue=JobQueue(
                aws.sqs(receive_wait_s=config.receive_wait_s), url=config.task_queue_url
            ),
            process=processor.process,
            concurrency=config.worker_concurrency,
            receive_wait_s=config.receive_wait_s,
            longest_task_s=_longest_task_s(config.processing_budget_s),
            health=HealthFile(Path(config.health_file)),
            jitter=random.random,
        )
        imaging.start()
        leases.start()
        _consume(consumer, leases, stop_timeout_s=config.stop_timeout_s)
        leases.stop()
        imaging.stop()
    return 0


def _longest_task_s(budget_s: float) -> float:
    """A task that takes longer is stuck: by then every call to AWS has failed for good."""
    limits = CallLimits()
    return budget_s + limits.longest_transfer_s() + CALLS_OF_A_TASK * limits.longest_call_s()


def _consume(consumer: Consumer, leases: LeaseKeeper, *, stop_timeout_s: float) -> None:
    stopped_at: list[float] = []

    def stop(_signal: int, _frame: object) -> None:
        stopped_at.append(time.monotonic())
        consumer.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    log.info("worker started")
    consumer.run()
    margin_s = min(STOP_MARGIN_S, stop_timeout_s / 2)
    left_s = stopped_at[0] + stop_timeout_s - margin_s - time.monotonic()
    log.info("worker draining", seconds_left=round(left_s, 1))
    if not consumer.wait_until_idle(max(0.0, left_s)):
        leases.release_all()
    log.info("worker stopped")


def reconcile(config: ReconcilerConfig) -> int:
    """One run of the reconciler; 1 when AWS failed it on the way."""
    telemetry.configure(
        service="reconciler",
        environment=config.taskfleet_environment,
        log_format=config.log_format,
    )
    aws = Aws(region=config.aws_region)
    sqs = aws.sqs()
    reconciler = Reconciler(
        name=secrets.token_urlsafe(12),
        table=TaskTable(
            aws.dynamodb(),
            table=config.task_table,
            retention=timedelta(seconds=config.row_retention_s),
        ),
        queue=JobQueue(sqs, url=config.task_queue_url),
        dead_letters=JobQueue(sqs, url=config.dead_letter_queue_url),
        policy=ReconcilePolicy(
            lease=timedelta(seconds=config.lease_s),
            longest_backoff=timedelta(seconds=config.retry_backoff_cap_s),
            max_backlog=config.reconcile_max_backlog,
        ),
        clock=utc_now,
        shuffle=random.shuffle,
    )
    try:
        reconciler.run()
    except AwsError:
        log.exception("reconcile cut short")
        return 1
    return 0


def health(config: WorkerConfig) -> int:
    """0 when the poll loop makes progress; for the container's health check."""
    age_s = HealthFile(Path(config.health_file)).age_s()
    limit_s = healthy_within_s(config.receive_wait_s)
    if age_s is None or age_s > limit_s:
        print(f"unhealthy: the poll loop's last round was {age_s} s ago, the limit is {limit_s} s")
        return 1
    print(f"healthy: the poll loop's last round was {age_s:.1f} s ago")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m services.worker")
    parser.add_argument("command", choices=["run", "reconcile", "health"])
    command = parser.parse_args().command
    try:
        match command:
            case "reconcile":
                return reconcile(ReconcilerConfig())
            case "health":
                return health(WorkerConfig())
            case _:
                return run(WorkerConfig())
    except ValidationError as invalid:
        for error in invalid.errors():
            name = "_".join(str(part) for part in error["loc"][:1]).upper() or "environment"
            print(f"{name}: {error['msg']}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
