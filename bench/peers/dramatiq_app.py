"""The job as a Dramatiq actor, on SQS.

Sources: README of dramatiq_sqs; "User Guide", Dramatiq.
"""

import os

import dramatiq
from dramatiq.middleware import AgeLimit, Callbacks, Pipelines, Retries, TimeLimit
from dramatiq_sqs import SQSBroker

from bench.floor.job import Job

THREADS = 8
"""Dramatiq's default."""

broker = SQSBroker(
    namespace="bench",
    middleware=[
        AgeLimit(),
        TimeLimit(),
        Callbacks(),
        Pipelines(),
        Retries(min_backoff=1000, max_backoff=900000, max_retries=96),
    ],
    region_name=os.environ["AWS_REGION"],
)
dramatiq.set_broker(broker)

job = Job(threads=THREADS)


@dramatiq.actor
def process(task_id: str) -> None:
    job.run(task_id)
