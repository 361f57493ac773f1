"""The ``reconcile`` command: one run of the reconciler against AWS."""

import random
import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import structlog

from services.common import telemetry
from services.common.aws import Aws
from services.common.clock import utc_now
from services.common.config import ReconcilerConfig
from services.common.errors import AwsError
from services.common.task_queue import TaskQueue
from services.common.task_table import TaskTable
from services.worker.reconciler import ReconcilePolicy, Reconciler

log = structlog.get_logger()


def reconcile(config: ReconcilerConfig) -> int:
    """Run once. Return the exit code: 1 if a call to AWS failed, otherwise 0."""
    telemetry.configure(
        service="reconciler",
        environment=config.taskfleet_environment,
        log_format=config.log_format,
    )
    aws = Aws(region=config.aws_region, connections=config.reconcile_threads)
    threads = ThreadPoolExecutor(config.reconcile_threads, thread_name_prefix="shard")
    sqs = aws.sqs()
    reconciler = Reconciler(
        name=secrets.token_urlsafe(12),
        table=TaskTable(
            aws.dynamodb(),
            table=config.task_table,
            retention=timedelta(seconds=config.row_retention_s),
        ),
        queue=TaskQueue(sqs, url=config.task_queue_url),
        dead_letters=TaskQueue(sqs, url=config.dead_letter_queue_url),
        policy=ReconcilePolicy(
            lease=timedelta(seconds=config.lease_s),
            recheck=timedelta(seconds=config.first_check_s),
            count_lag=timedelta(seconds=config.queue_count_lag_s),
            limits=config.failure_limits(),
        ),
        clock=utc_now,
        shuffle=random.shuffle,
        run_all=threads.map,
    )
    try:
        reconciler.run()
    except AwsError:
        log.exception("reconciliation failed")
        return 1
    finally:
        threads.shutdown()
    return 0
