"""The API: CPU time of a submission compared with its floor, and latencies under load."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from statistics import quantiles

from urllib3.exceptions import HTTPError

from bench.contestants import CORES
from bench.figures import Figures, spread, spreads
from bench.floor.submission_loop import IMAGE_URL
from bench.open_loop import latencies_ms
from bench.program import RunningProgram, running
from bench.stub_aws.client import StubAws
from bench.stub_aws.service import Latencies
from local import programs
from local.ports import HOST, free_port
from services.common.api_key import ApiKey, Scope, hash_secret
from taskfleet.api_client import ApiClient, Response

CLIENTS = 4
"""That submit one task after the other, with one connection each, while CPU time is measured."""
KEY_ID, KEY_SECRET = "bench", "secret"
SUBMISSIONS_PER_MINUTE = 1_000_000
"""The rate limiter runs, but this limit is never reached."""


class RequestFailed(Exception):
    """The API refused a request. The message is the problem."""


class Api:
    """A running API and its stub of AWS."""

    def __init__(self, aws: StubAws, program: RunningProgram, client: ApiClient) -> None:
        self.aws = aws
        self.client = client
        self._program = program

    def submit(self) -> str:
        """Submit a task and return its ID. Raises ``RequestFailed``."""
        task_id: str = _expect(
            self.client.submit({"inputImageUrl": IMAGE_URL}), HTTPStatus.CREATED
        ).body["taskId"]
        return task_id

    def read(self, task_id: str) -> None:
        """Raises ``RequestFailed``."""
        _expect(self.client.get_task(task_id), HTTPStatus.OK)

    def cpu_ms(self, submissions: int) -> float:
        """CPU milliseconds per submission, with several clients at the same time."""
        started_s = self._program.cpu_s()
        with ThreadPoolExecutor(CLIENTS) as threads:
            list(threads.map(lambda _: self.submit(), range(submissions)))
        return (self._program.cpu_s() - started_s) / submissions * 1_000


def _expect(response: Response, status: HTTPStatus) -> Response:
    if response.status != status:
        raise RequestFailed(response.problem)
    return response


@contextmanager
def started(aws: StubAws, *, scratch: Path) -> Iterator[Api]:
    """Run the API inside the ``with`` block, with one process per core. It is ready."""
    port = free_port()
    environment = {
        **aws.environment(os.environ),
        "API_PROCESSES": str(CORES),
        "LOG_FORMAT": "json",
        "SUBMISSIONS_PER_MINUTE": str(SUBMISSIONS_PER_MINUTE),
    }
    program = programs.api(environment, port=port, scratch=scratch)
    with running(program, log=scratch / "api.log") as api:
        client = ApiClient(f"http://{HOST}:{port}", key=f"{KEY_ID}.{KEY_SECRET}", connections=64)
        api.wait_until(client.is_ready, "become ready")
        yield Api(aws, api, client)


def secret() -> str:
    """The secret with the API key of the benchmark."""
    key = ApiKey(client="bench", sha256=hash_secret(KEY_SECRET), scopes=frozenset(Scope))
    return json.dumps({KEY_ID: key.model_dump(mode="json")})


def measure_submissions(
    *, submissions: int, rounds: int, images: Path, scratch: Path, report: Callable[[str], None]
) -> Figures:
    """CPU milliseconds of `submissions` tasks per round, of the API and of the floor in turns."""
    log = scratch / "submissions.aws.log"
    with (
        StubAws(images=images, log=log, secret=secret()) as aws,
        started(aws, scratch=scratch) as api,
    ):
        api.cpu_ms(submissions // 4)  # a warm-up
        measured = []
        for number in range(rounds):
            report(f"submissions, round {number + 1} of {rounds}")
            api_ms, floor_ms = api.cpu_ms(submissions), _floor_ms(aws, submissions)
            measured.append({"cpu_ms": api_ms, "floor_cpu_ms": floor_ms})
        return {"submissions_per_round": submissions, **spreads(measured)}


def _floor_ms(aws: StubAws, submissions: int) -> float:
    """CPU milliseconds per submission of the floor."""
    finished = subprocess.run(  # noqa: S603 - our own program
        (sys.executable, "-m", "bench.floor.submission_loop", str(submissions)),
        env=aws.environment(os.environ),
        stdout=subprocess.PIPE,
        check=True,
    )
    return float(finished.stdout)


def measure_load(
    rates: tuple[int, ...],
    *,
    latencies: Latencies,
    duration_s: float,
    rounds: int,
    images: Path,
    scratch: Path,
    report: Callable[[str], None],
) -> Figures:
    """Median and 99th percentile of submissions and reads, at each rate of requests per second.

    Half of the requests are submissions. An overloaded API refuses some of them.
    """
    log = scratch / "load.aws.log"
    with (
        StubAws(images=images, log=log, secret=secret()) as aws,
        started(aws, scratch=scratch) as api,
    ):
        aws.delay(latencies)
        task_id = api.submit()

        measured: Figures = {}
        for rate in rates:
            report(f"API with {rate} requests per second")
            _round(api, task_id, rate=rate, duration_s=duration_s / 4)  # a warm-up
            each_round = [
                _round(api, task_id, rate=rate, duration_s=duration_s) for _ in range(rounds)
            ]
            measured[str(rate)] = {
                "submit": _percentiles([each.submit_ms for each in each_round]),
                "read": _percentiles([each.read_ms for each in each_round]),
                "refused": spread([each.refused for each in each_round]),
            }
        return {"duration_s": duration_s, "requests_per_s": measured}


@dataclass(frozen=True, slots=True)
class _Round:
    """Latencies of the requests that succeeded, and the share of those that did not."""

    submit_ms: list[float]
    read_ms: list[float]
    refused: float


def _round(api: Api, task_id: str, *, rate: float, duration_s: float) -> _Round:
    refused: set[int] = set()

    def send(number: int) -> None:
        try:
            if number % 2:
                api.read(task_id)
            else:
                api.submit()
        except (RequestFailed, HTTPError):
            refused.add(number)

    taken = latencies_ms(send, rate=rate, duration_s=duration_s)
    submit_ms = [ms for number, ms in enumerate(taken) if not number % 2 and number not in refused]
    read_ms = [ms for number, ms in enumerate(taken) if number % 2 and number not in refused]
    return _Round(submit_ms, read_ms, len(refused) / len(taken))


def _percentiles(rounds: list[list[float]]) -> Figures:
    hundredths = [quantiles(each, n=100) for each in rounds]
    return {
        "p50_ms": spread([each[49] for each in hundredths]),
        "p99_ms": spread([each[98] for each in hundredths]),
    }
