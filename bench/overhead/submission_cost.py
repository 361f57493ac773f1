"""CPU time of the API per submission, compared with a baseline."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

from bench.overhead.comparison import Comparison, measure_alternately
from bench.overhead.environment import baseline, environment
from bench.overhead.measured_program import MeasuredProgram
from bench.overhead.running_program import running
from bench.overhead.stub_aws import StubAws
from local import programs
from local.options import SAMPLES
from local.ports import HOST, free_port
from services.common.api_key import ApiKey, Scope, hash_secret
from taskfleet.api_client import ApiClient

CONNECTIONS = 4
"""Concurrent clients with one keep-alive connection each. A load balancer opens several too."""
IMAGE_URL = "https://images.example.com/albums/2026/rocket.jpg"
"""Nothing fetches it."""
KEY_ID, KEY_SECRET = "bench", "secret"
SUBMISSIONS_PER_MINUTE = 1_000_000
"""The rate limiter runs, but this limit is never reached."""


def measure(*, submissions: int, rounds: int, scratch: Path) -> Comparison:
    """Submit `submissions` tasks per round, to the API and with the baseline."""
    with started(scratch) as (api, clients, bare_loop):
        api_ms, baseline_ms = measure_alternately(
            lambda: api.cpu_ms_per_unit(submissions, lambda: clients.submit(submissions)),
            lambda: bare_loop.cpu_ms_per_unit(
                submissions, lambda: submit_with_baseline(bare_loop, submissions)
            ),
            rounds=rounds,
        )
        return Comparison(
            program_ms=api_ms,
            baseline_ms=baseline_ms,
            program_calls=api.calls,
            baseline_calls=bare_loop.calls,
            units_per_round=submissions,
        )


@contextmanager
def started(scratch: Path) -> Iterator[tuple[MeasuredProgram, "Clients", MeasuredProgram]]:
    """Run the API and the baseline inside the ``with`` block. The API is ready."""
    key = ApiKey(client="bench", sha256=hash_secret(KEY_SECRET), scopes=frozenset(Scope))
    secret = json.dumps({KEY_ID: key.model_dump(mode="json")})
    port = free_port()
    with (
        StubAws(images=SAMPLES, secret=secret) as api_aws,
        StubAws(images=SAMPLES, secret=secret) as baseline_aws,
        running(
            programs.api(
                {**environment(api_aws), "SUBMISSIONS_PER_MINUTE": str(SUBMISSIONS_PER_MINUTE)},
                port=port,
                scratch=scratch,
            ),
            scratch=scratch,
        ) as api,
        running(
            baseline("baseline_submission", environment(baseline_aws)), scratch=scratch
        ) as bare_loop,
    ):
        clients = Clients(port=port)
        api.wait_until(clients.api.is_ready, "become ready")
        yield MeasuredProgram(api_aws, api), clients, MeasuredProgram(baseline_aws, bare_loop)


def submit_with_baseline(bare_loop: MeasuredProgram, submissions: int) -> None:
    goal = bare_loop.aws.queue.sent + submissions
    bare_loop.program.send_line(f"{submissions} {IMAGE_URL}")
    bare_loop.program.wait_until(
        lambda: bare_loop.aws.queue.sent >= goal, f"submit {submissions} tasks"
    )


class SubmissionsFailed(Exception):
    """A response had another status than 201. The message counts the statuses."""


class Clients:
    """Concurrent clients of the API."""

    def __init__(self, *, port: int) -> None:
        self.api = ApiClient(
            f"http://{HOST}:{port}", key=f"{KEY_ID}.{KEY_SECRET}", connections=CONNECTIONS
        )

    def submit(self, submissions: int) -> None:
        """Raises ``SubmissionsFailed``."""
        with ThreadPoolExecutor(CONNECTIONS) as threads:
            statuses = Counter(threads.map(self._submit, range(submissions)))
        if statuses != {HTTPStatus.CREATED: submissions}:
            raise SubmissionsFailed(f"The API returned the statuses {dict(statuses)}.")

    def _submit(self, _: int) -> int:
        return self.api.submit({"inputImageUrl": IMAGE_URL}).status
