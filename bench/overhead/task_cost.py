"""CPU time of the worker per task, compared with a baseline."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from bench.overhead.comparison import Comparison, measure_alternately
from bench.overhead.environment import baseline, environment
from bench.overhead.measured_program import MeasuredProgram
from bench.overhead.running_program import running
from bench.overhead.stub_aws import StubAws
from local import programs
from local.aws_resources import NO_API_KEYS
from local.options import SAMPLES
from services.common.clock import utc_now
from services.common.task import SubmissionPolicy, pending_task
from services.common.task_record import to_item

POLICY = SubmissionPolicy(
    deadline=timedelta(days=1),
    first_check=timedelta(minutes=15),
    retention=timedelta(days=30),
)


def measure(image: str, *, tasks: int, rounds: int, scratch: Path) -> Comparison:
    """Convert the sample `image` to grayscale `tasks` times per round, with worker and baseline."""
    with started(scratch) as (worker, bare_loop):

        def worker_round() -> float:
            return worker.cpu_ms_per_unit(tasks, lambda: process_with_worker(worker, image, tasks))

        def baseline_round() -> float:
            receives = min(worker.calls["ReceiveMessage"], tasks)
            return bare_loop.cpu_ms_per_unit(
                tasks, lambda: process_with_baseline(bare_loop, image, tasks, receives)
            )

        worker_ms, baseline_ms = measure_alternately(worker_round, baseline_round, rounds=rounds)
        return Comparison(
            program_ms=worker_ms,
            baseline_ms=baseline_ms,
            program_calls=worker.calls,
            baseline_calls=bare_loop.calls,
            units_per_round=tasks,
        )


@contextmanager
def started(scratch: Path) -> Iterator[tuple[MeasuredProgram, MeasuredProgram]]:
    """Run the worker and the baseline inside the ``with`` block."""
    with (
        StubAws(images=SAMPLES, secret=NO_API_KEYS) as worker_aws,
        StubAws(images=SAMPLES, secret=NO_API_KEYS) as baseline_aws,
        running(
            programs.worker(
                environment(worker_aws),
                samples_port=worker_aws.port,
                health_file=scratch / "worker-health",
            ),
            scratch=scratch,
        ) as worker,
        running(baseline("baseline_task", environment(baseline_aws)), scratch=scratch) as bare_loop,
    ):
        yield MeasuredProgram(worker_aws, worker), MeasuredProgram(baseline_aws, bare_loop)


def process_with_worker(worker: MeasuredProgram, image: str, tasks: int) -> None:
    """Queue the tasks and wait until each has a result and its message is deleted."""
    deleted = worker.aws.queue.deleted + tasks
    stored = worker.aws.calls["PutObject"] + tasks
    _queue_tasks(worker.aws, image, tasks)
    worker.program.wait_until(
        lambda: worker.aws.queue.deleted >= deleted, f"complete {tasks} tasks"
    )
    if worker.aws.calls["PutObject"] != stored:
        raise worker.program.failure("did not store one result per task")


def process_with_baseline(
    bare_loop: MeasuredProgram, image: str, tasks: int, receives: int
) -> None:
    """Queue the tasks and wait until the baseline has processed them with `receives` calls."""
    deleted = bare_loop.aws.queue.deleted + tasks
    _queue_tasks(bare_loop.aws, image, tasks)
    bare_loop.program.send_line(f"{tasks} {receives}")
    bare_loop.program.wait_until(
        lambda: bare_loop.aws.queue.deleted >= deleted, f"complete {tasks} tasks"
    )


def _queue_tasks(aws: StubAws, image: str, tasks: int) -> None:
    for _ in range(tasks):
        aws.queue.send(_submit(aws, image))


def _submit(aws: StubAws, image: str) -> str:
    """Write the row of a new task and return the body of its message."""
    task = pending_task(
        task_id=str(uuid4()),
        owner="bench",
        request_hash="0" * 64,
        request_id=uuid4().hex,
        input_image_url=aws.image_url(image),
        operations=[{"name": "grayscale"}],
        output=None,
        policy=POLICY,
        now=utc_now(),
    )
    aws.table.put(to_item(task))
    return json.dumps({"taskId": task.task_id, "requestId": task.request_id})
