"""The floor of a task: a bare loop around the job, ``python -m bench.floor.task_loop 2 40``.

The arguments are the numbers of processes and of threads in each.
"""

import json
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from typing import Any

import boto3
from botocore.config import Config

from bench.floor.job import Job

MESSAGES_PER_CALL = 10
WAIT_S = 20


def consume(threads: int) -> None:
    """Run up to `threads` jobs at the same time, forever."""
    receivers = ceil(threads / MESSAGES_PER_CALL)
    sqs = boto3.Session(region_name=os.environ["AWS_REGION"]).client(
        "sqs", config=Config(max_pool_connections=receivers)
    )
    job, pool = Job(threads=threads), ThreadPoolExecutor(threads)

    def receive_in_thread() -> None:
        receive_forever(sqs, lambda task_ids: list(pool.map(job.run, task_ids)))

    for _ in range(receivers - 1):
        threading.Thread(target=receive_in_thread, daemon=True).start()
    receive_in_thread()


def receive_forever(sqs: Any, run: Callable[[Iterable[str]], object]) -> None:
    """Receive up to ten messages, run their jobs, delete the messages with one call, repeat."""
    url = os.environ["TASK_QUEUE_URL"]
    while True:
        received = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=MESSAGES_PER_CALL, WaitTimeSeconds=WAIT_S
        )
        messages = received.get("Messages", ())
        run(json.loads(message["Body"])["taskId"] for message in messages)
        if messages:
            sqs.delete_message_batch(
                QueueUrl=url,
                Entries=[
                    {"Id": str(position), "ReceiptHandle": message["ReceiptHandle"]}
                    for position, message in enumerate(messages)
                ],
            )


if __name__ == "__main__":
    processes, threads = map(int, sys.argv[1:])
    for _ in range(processes - 1):
        multiprocessing.Process(target=consume, args=(threads,), daemon=True).start()
    consume(threads)
