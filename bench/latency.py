"""Time from a submission to COMPLETED on an idle system, compared with the sum of its parts."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bench import api
from bench.contestants import TASKFLEET
from bench.figures import Figures, spread
from bench.images import SMALL
from bench.program import running
from bench.stub_aws.client import StubAws
from bench.stub_aws.service import Latencies
from taskfleet.api_client import ApiClient
from testbed.waiting import wait_until

WARM_UP_TASKS = 5
PAUSE_S = 0.05
"""Between two tasks, so that the worker waits in a long poll again."""


def waiting_ms(latencies: Latencies) -> float:
    """The waits that a task cannot avoid: row, message, claim, source image and result.

    The stub counts a task as completed when the last write arrives, not when it responds.
    """
    waits_s = 2 * latencies.dynamodb + latencies.sqs + latencies.source + latencies.s3
    return waits_s * 1_000


def measure(
    *, latencies: Latencies, tasks: int, images: Path, scratch: Path, report: Callable[[str], None]
) -> Figures:
    """Submit the small image `tasks` times, one task after the other."""
    report("latency")
    log = scratch / "latency.aws.log"
    with (
        StubAws(images=images, log=log, secret=api.secret()) as aws,
        api.started(aws, scratch=scratch) as running_api,
        running(TASKFLEET.program(aws, scratch), log=scratch / "latency.worker.log"),
    ):
        aws.delay(latencies)
        submission = {"inputImageUrl": aws.image_url(SMALL)}
        all_ms = [
            _latency_ms(aws, running_api.client, submission) for _ in range(WARM_UP_TASKS + tasks)
        ]
    return {
        "tasks": tasks,
        "latency_ms": spread(all_ms[WARM_UP_TASKS:]),
        "waiting_ms": waiting_ms(latencies),
    }


def _latency_ms(aws: StubAws, client: ApiClient, submission: Mapping[str, str]) -> float:
    time.sleep(PAUSE_S)
    completed, started = aws.state().completed, time.monotonic()
    client.submit(submission)
    wait_until(lambda: aws.state().completed > completed, "the task completes")
    [ended] = aws.completions(since=completed)
    return (ended - started) * 1_000
