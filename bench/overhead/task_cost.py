"""CPU time of the worker per task, beside the floor's."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from bench.overhead.comparison import Comparison, take_turns
from bench.overhead.environment import environment, floor
from bench.overhead.running import running
from bench.overhead.side import Side
from bench.overhead.stub_aws import StubAws
from local import programs
from local.aws_resources import NO_API_KEYS
from local.options import SAMPLES
from services.common.clock import utc_now
from services.common.task import SubmissionPolicy, pending_task
from services.common.task_record import to_item

POLICY = SubmissionPolicy(
    attempt_limit=5,
    deadline=timedelta(days=1),
    first_check=timedelta(minutes=15),
    retention=timedelta(days=30),
)


def measure(image: str, *, tasks: int, rounds: int, scratch: Path) -> Comparison:
    """Make the sample `image` gray `tasks` times a round, with the worker and with the floor."""
    with started(scratch) as (worker, bare):

        def worker_round() -> float:
            return worker.cost_ms(tasks, lambda: do_by_worker(worker, image, tasks))

        def floor_round() -> float:
            receives = min(worker.calls["ReceiveMessage"], tasks)
            return bare.cost_ms(tasks, lambda: do_by_floor(bare, image, tasks, receives))

        worker_ms, floor_ms = take_turns(worker_round, floor_round, rounds=rounds)
        return Comparison(
            program_ms=worker_ms,
            floor_ms=floor_ms,
            program_calls=worker.calls,
            floor_calls=bare.calls,
            units=tasks,
        )


@contextmanager
def started(scratch: Path) -> Iterator[tuple[Side, Side]]:
    """The worker and the floor, for as long as the ``with`` lasts."""
    with (
        StubAws(images=SAMPLES, secret=NO_API_KEYS) as worker_aws,
        StubAws(images=SAMPLES, secret=NO_API_KEYS) as floor_aws,
        running(
            programs.worker(
                environment(worker_aws),
                samples_port=worker_aws.port,
                health_file=scratch / "worker-health",
            ),
            scratch=scratch,
        ) as worker,
        running(floor("floor_task", environment(floor_aws)), scratch=scratch) as bare,
    ):
        yield Side(worker_aws, worker), Side(floor_aws, bare)


def do_by_worker(worker: Side, image: str, tasks: int) -> None:
    """Queue the tasks and see them done, with a result each."""
    all_deleted = worker.aws.queue.deleted + tasks
    all_stored = worker.aws.calls["PutObject"] + tasks
    _queue_tasks(worker.aws, image, tasks)
    worker.program.wait_for(lambda: worker.aws.queue.deleted >= all_deleted, f"do {tasks} tasks")
    if worker.aws.calls["PutObject"] != all_stored:
        raise worker.program.failed("did not store one result for each task")


def do_by_floor(bare: Side, image: str, tasks: int, receives: int) -> None:
    """Queue the tasks, say how many receive calls to make for them, and see them done."""
    all_deleted = bare.aws.queue.deleted + tasks
    _queue_tasks(bare.aws, image, tasks)
    bare.program.tell(f"{tasks} {receives}")
    bare.program.wait_for(lambda: bare.aws.queue.deleted >= all_deleted, f"do {tasks} tasks")


def _queue_tasks(aws: StubAws, image: str, tasks: int) -> None:
    for _ in range(tasks):
        aws.queue.send(_submit(aws, image))


def _submit(aws: StubAws, image: str) -> str:
    """Write the row of a new task; returns the body of its message."""
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
