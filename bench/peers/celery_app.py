"""The job as a Celery task, on SQS.

Sources: "Using Amazon SQS", "Optimizing" and "Workers Guide", Celery User Guide.
"""

import os

from celery import Celery

from bench.floor.job import Job

app = Celery("bench", broker="sqs://")
app.conf.update(
    broker_transport_options={
        "region": os.environ["AWS_REGION"],
        "predefined_queues": {"celery": {"url": os.environ["TASK_QUEUE_URL"]}},
        "wait_time_seconds": 20,
        "visibility_timeout": 60,
    },
    # A message is deleted after its task has run, so that a crash loses no task.
    task_acks_late=True,
    task_ignore_result=True,
    # SQS has no broadcasts.
    worker_enable_remote_control=False,
)

THREADS = 32
_job: list[Job] = []


@app.task
def process(task_id: str) -> None:
    if not _job:  # once in each process: boto3's clients must not be shared by forked processes
        _job.append(Job(threads=THREADS))
    _job[0].run(task_id)
