"""The application wired to AWS, which gunicorn loads."""

from datetime import timedelta
from uuid import uuid4

from flask_openapi3.openapi import OpenAPI

from services.api.app import create_app
from services.api.key_ring import ApiKeysSecret, KeyRefresher, KeyRing
from services.api.readiness import Readiness
from services.api.submission_limiter import SubmissionCounter, SubmissionLimiter
from services.api.task_service import NIL_TASK_ID
from services.common.aws import Aws
from services.common.call_limits import CallLimits
from services.common.clock import utc_now
from services.common.config import ApiConfig
from services.common.result_bucket import ResultBucket
from services.common.task_queue import TaskQueue
from services.common.task_table import TaskTable

CALL_LIMITS = CallLimits(connect_timeout_s=1, read_timeout_s=2, max_attempts=2)
"""Shorter than a worker's, because a client waits, and several calls must fit into its request."""


def create_wsgi_app() -> OpenAPI:
    """Called in each process after the fork, which boto3 clients and threads do not survive."""
    config = ApiConfig()
    aws = Aws(region=config.aws_region, connections=config.api_threads, limits=CALL_LIMITS)
    dynamodb = aws.dynamodb()
    table = TaskTable(
        dynamodb,
        table=config.task_table,
        retention=timedelta(seconds=config.row_retention_s),
    )
    queue = TaskQueue(aws.sqs(), url=config.task_queue_url)
    secret = ApiKeysSecret(aws.secretsmanager(), secret_id=config.api_keys_secret_id)
    keys = KeyRing(read=secret.read, max_age_s=config.api_keys_max_age_s)
    KeyRefresher(keys, interval_s=config.api_keys_refresh_s).start()
    return create_app(
        config=config,
        table=table,
        queue=queue,
        bucket=ResultBucket(aws.s3(), bucket=config.result_bucket),
        keys=keys,
        limiter=SubmissionLimiter(
            counter=SubmissionCounter(dynamodb, table=config.task_table),
            limit=config.submissions_per_minute,
            clock=utc_now,
        ),
        readiness=Readiness(
            {
                "table": lambda: table.get(NIL_TASK_ID),
                "queue": queue.backlog,
                "secret": keys.require_valid,
            }
        ),
        clock=utc_now,
        new_id=lambda: str(uuid4()),
    )
