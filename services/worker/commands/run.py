"""The worker process: everything wired together, run until it is told to stop."""

import random
import secrets
import signal
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import structlog

from services.common import telemetry
from services.common.aws import Aws, CallLimits
from services.common.clock import utc_now
from services.common.config import WorkerConfig
from services.common.result_bucket import ResultBucket
from services.common.task import Backoff
from services.common.task_queue import TaskQueue
from services.common.task_table import TaskTable
from services.worker.consumer import Consumer
from services.worker.fetching.fetcher import FetchPolicy, GuardedFetcher
from services.worker.health import HealthFile
from services.worker.imaging import ImagingLimits, ImagingPool
from services.worker.lease import LeaseKeeper
from services.worker.processor import AttemptPolicy, Processor

log = structlog.get_logger()

CALLS_OF_A_TASK = 5
"""Beside its budget and the store: claim, final write, the two of a heartbeat that comes in
between, and what settles the message."""
STOP_MARGIN_S = 10
"""Kept from the stop timeout for giving back what did not finish."""


def run(config: WorkerConfig) -> int:
    """Work until SIGTERM or SIGINT; 0 when everything was finished or given back."""
    stop = _StopSignal()  # first: PID 1 of a container ignores a signal that it has no handler for
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
    queue = TaskQueue(aws.sqs(), url=config.task_queue_url)
    bucket = ResultBucket(aws.s3(), bucket=config.result_bucket)
    leases = LeaseKeeper(
        table=table,
        queue=queue,
        at_once=config.worker_concurrency,
        duration=timedelta(seconds=config.lease_s),
        interval=timedelta(seconds=config.heartbeat_interval_s),
        clock=utc_now,
    )
    imaging = _imaging(config)
    with tempfile.TemporaryDirectory(prefix="taskfleet-") as scratch:
        processor = Processor(
            table=table,
            queue=queue,
            bucket=bucket,
            fetcher=_fetcher(config),
            imaging=imaging,
            leases=leases,
            policy=_attempt_policy(config),
            scratch=Path(scratch),
            clock=utc_now,
            jitter=random.random,
            new_lease_owner=lambda: secrets.token_urlsafe(12),
        )
        # Long polls have a client of their own: it is too patient for calls that must be quick.
        polls = aws.sqs(receive_wait_s=config.receive_wait_s)
        consumer = Consumer(
            queue=TaskQueue(polls, url=config.task_queue_url),
            process=processor.process,
            concurrency=config.worker_concurrency,
            receive_wait_s=config.receive_wait_s,
            longest_task_s=_longest_task_s(config.processing_budget_s),
            health=HealthFile(Path(config.health_file)),
            jitter=random.random,
        )
        imaging.start()
        leases.start()
        stop.calls(consumer.stop)
        log.info("worker started")
        consumer.run()
        _drain(consumer, leases, left_s=config.stop_timeout_s - stop.age_s())
        leases.stop()
        imaging.stop()
    return 0


def _imaging(config: WorkerConfig) -> ImagingPool:
    limits = ImagingLimits(
        memory_bytes=config.imaging_memory_bytes,
        timeout_s=config.imaging_timeout_s,
        max_pixels=config.imaging_max_pixels,
    )
    return ImagingPool(limits=limits, processes=config.imaging_processes)


def _fetcher(config: WorkerConfig) -> GuardedFetcher:
    policy = FetchPolicy(
        max_bytes=config.fetch_max_bytes,
        timeout_s=config.fetch_timeout_s,
        max_redirects=config.fetch_max_redirects,
        allowed_ports=config.fetch_allowed_ports,
        allowed_networks=config.fetch_allowed_networks,
    )
    return GuardedFetcher(policy=policy)


def _attempt_policy(config: WorkerConfig) -> AttemptPolicy:
    backoff = Backoff(
        base=timedelta(seconds=config.retry_backoff_base_s),
        cap=timedelta(seconds=config.retry_backoff_cap_s),
    )
    return AttemptPolicy(budget=timedelta(seconds=config.processing_budget_s), backoff=backoff)


def _longest_task_s(budget_s: float) -> float:
    """A task that takes longer is stuck: by then every call to AWS has failed for good."""
    limits = CallLimits()
    return budget_s + limits.max_transfer_s() + CALLS_OF_A_TASK * limits.max_call_s()


def _drain(consumer: Consumer, leases: LeaseKeeper, *, left_s: float) -> None:
    """Let tasks finish; `left_s` seconds before the process is killed, give back what has not."""
    wait_s = left_s - min(STOP_MARGIN_S, left_s / 2)
    log.info("worker draining", seconds_left=round(wait_s, 1))
    if not consumer.wait_until_idle(max(0.0, wait_s)):
        leases.release_all()
    log.info("worker stopped")


class _StopSignal:
    """SIGTERM and SIGINT, from the moment this is made; the first one counts."""

    def __init__(self) -> None:
        self._received_at: float | None = None
        self._stop: Callable[[], None] = lambda: None
        signal.signal(signal.SIGTERM, self._receive)
        signal.signal(signal.SIGINT, self._receive)

    def calls(self, stop: Callable[[], None]) -> None:
        """Have `stop` called, at once when the signal came before this."""
        self._stop = stop
        if self._received_at is not None:
            stop()

    def age_s(self) -> float:
        """Seconds since the signal; 0 while there was none."""
        return 0.0 if self._received_at is None else time.monotonic() - self._received_at

    def _receive(self, _signal: int, _frame: object) -> None:
        self._received_at = self._received_at or time.monotonic()
        self._stop()
