"""One consumer process, wired to AWS. The supervisor starts it with a pipe and a folder."""

import os
import random
import secrets
import sys
from datetime import timedelta
from pathlib import Path

import structlog

from services.common import telemetry
from services.common.aws import Aws
from services.common.call_limits import CallLimits
from services.common.clock import utc_now
from services.common.config import WorkerConfig
from services.common.result_bucket import ResultBucket
from services.common.task_queue import TaskQueue
from services.common.task_table import TaskTable
from services.worker.admission import Admission
from services.worker.consumer import Consumer
from services.worker.deleter import MessageDeleter
from services.worker.fetching.fetcher import GuardedFetcher
from services.worker.fetching.host_slots import HostSlots
from services.worker.fetching.pacing import HostPacer
from services.worker.imaging import ImagingPool
from services.worker.imaging.pool import MAX_WAIT_S
from services.worker.lease import LeaseKeeper
from services.worker.policies import attempt_policy, fetch_policy, imaging_limits
from services.worker.processor import Processor
from services.worker.progress import ProgressWriter, SupervisorGone
from services.worker.result_memory import ResultMemory
from services.worker.stop_signal import StopSignal

log = structlog.get_logger()

CALLS_PER_TASK = 5
"""Calls to AWS in addition to the store: claim, final write, the two of a heartbeat that runs
meanwhile, and the one that settles the message."""
STOP_MARGIN_S = 10
"""Part of the stop timeout that is reserved for releasing unfinished tasks."""


def consume(config: WorkerConfig, *, progress: ProgressWriter, scratch: Path) -> int:
    """Work until SIGTERM or SIGINT. Return 0 after all tasks have finished or been released.

    Downloads are kept in the folder `scratch`.
    """
    stop = StopSignal()
    telemetry.configure(
        service="worker",
        environment=config.taskfleet_environment,
        log_format=config.log_format,
    )
    # Two connections per task: one for its thread and one for its heartbeat.
    aws = Aws(region=config.aws_region, connections=2 * config.worker_concurrency)
    table = TaskTable(
        aws.dynamodb(),
        table=config.task_table,
        retention=timedelta(seconds=config.row_retention_s),
    )
    queue = TaskQueue(aws.sqs(), url=config.task_queue_url)
    dead_letters = TaskQueue(aws.sqs(), url=config.dead_letter_queue_url)
    bucket = ResultBucket(aws.s3(), bucket=config.result_bucket)
    leases = LeaseKeeper(
        table=table,
        queue=queue,
        concurrency=config.worker_concurrency,
        duration=timedelta(seconds=config.lease_s),
        interval=timedelta(seconds=config.heartbeat_interval_s),
        clock=utc_now,
    )
    limits = imaging_limits(config)
    imaging = ImagingPool(limits=limits, processes=config.imaging_processes)
    deleter = MessageDeleter(queue)
    result_memory = ResultMemory(max_result_bytes=limits.max_result_bytes)
    admission = _admission(config, imaging, result_memory)
    processor = Processor(
        table=table,
        queue=queue,
        delete=deleter.delete,
        dead_letters=dead_letters,
        bucket=bucket,
        fetcher=_fetcher(config, admission),
        imaging=imaging,
        result_memory=result_memory,
        leases=leases,
        policy=attempt_policy(config),
        scratch=scratch,
        clock=utc_now,
        jitter=random.random,
        new_lease_owner=lambda: secrets.token_urlsafe(12),
    )
    # Long polls have their own client, whose read timeout is too long for other calls.
    polls = aws.sqs(receive_wait_s=config.receive_wait_s)
    consumer = Consumer(
        queue=TaskQueue(polls, url=config.task_queue_url),
        process=processor.process,
        admission=admission,
        receive_wait_s=config.receive_wait_s,
        max_task_s=_max_task_s(config.processing_budget_s),
        report_progress=progress.report,
        jitter=random.random,
    )
    imaging.start()
    leases.start()
    deleter.start()
    stop.on_receipt(consumer.stop)
    log.info("worker started")
    try:
        consumer.run()
    except SupervisorGone:
        log.exception("supervisor gone")
    _drain(consumer, leases, remaining_s=config.stop_timeout_s - stop.age_s())
    deleter.stop()
    leases.stop()
    imaging.stop()
    return 0


def _admission(
    config: WorkerConfig, imaging: ImagingPool, result_memory: ResultMemory
) -> Admission:
    return Admission(
        vcpus=config.worker_vcpus / config.consumers,
        maximum=config.worker_concurrency,
        cpu_s=lambda: _own_cpu_s() + imaging.cpu_s(),
        image_wait_s=lambda: imaging.recent_wait_s() + result_memory.recent_wait_s(),
    )


def _own_cpu_s() -> float:
    """CPU time of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _fetcher(config: WorkerConfig, admission: Admission) -> GuardedFetcher:
    return GuardedFetcher(
        policy=fetch_policy(config),
        pacer=HostPacer(Path(config.paced_hosts_folder)),
        slots=HostSlots(slots=admission.limit),
    )


def _max_task_s(budget_s: float) -> float:
    """The longest time for a task in which every call to AWS times out at its last retry."""
    limits = CallLimits()
    return budget_s + MAX_WAIT_S + limits.max_transfer_s() + CALLS_PER_TASK * limits.max_call_s()


def _drain(consumer: Consumer, leases: LeaseKeeper, *, remaining_s: float) -> None:
    """Wait for running tasks, then release the unfinished ones.

    The process is killed in `remaining_s` seconds.
    """
    wait_s = remaining_s - min(STOP_MARGIN_S, remaining_s / 2)
    log.info("worker draining", seconds_left=round(wait_s, 1))
    if not consumer.wait_until_idle(max(0.0, wait_s)):
        leases.release_all()
    log.info("worker stopped")


if __name__ == "__main__":
    _descriptor, _scratch = sys.argv[1:]
    sys.exit(
        consume(WorkerConfig(), progress=ProgressWriter(int(_descriptor)), scratch=Path(_scratch))
    )
