"""The worker image's commands: ``python -m services.worker run | reconcile | health``."""

import argparse
import random
import secrets
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import structlog
from pydantic import ValidationError

from services.common import telemetry
from services.common.aws import Aws
from services.common.clock import utc_now
from services.common.config import ReconcilerConfig, WorkerConfig
from services.common.errors import AwsError
from services.common.job_queue import JobQueue
from services.common.task_table import TaskTable
from services.worker.health import HealthFile, healthy_within_s
from services.worker.reconcile import ReconcilePolicy, Reconciler
from services.worker.run import run

log = structlog.get_logger()


def reconcile(config: ReconcilerConfig) -> int:
    """One run of the reconciler; 1 when AWS failed it on the way."""
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


def main(arguments: Sequence[str]) -> int:
    """The exit code; 2 when the command or the environment is wrong."""
    parser = argparse.ArgumentParser(prog="python -m services.worker")
    parser.add_argument("command", choices=["run", "reconcile", "health"])
    command = parser.parse_args(arguments).command
    try:
        match command:
            case "reconcile":
                config = ReconcilerConfig()
                telemetry.configure(
                    service="reconciler",
                    environment=config.taskfleet_environment,
                    log_format=config.log_format,
                )
                return reconcile(config)
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
    sys.exit(main(sys.argv[1:]))
