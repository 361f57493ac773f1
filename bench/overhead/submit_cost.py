"""CPU time of the API per submission, beside the floor's."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import urllib3

from bench.overhead.comparison import Comparison, take_turns
from bench.overhead.environment import environment, floor
from bench.overhead.running import running
from bench.overhead.side import Side
from bench.overhead.stub_aws import StubAws
from local import programs
from local.options import SAMPLES
from local.ports import HOST, free_port
from services.common.api_key import ApiKey, Scope, hash_secret

CONNECTIONS = 4
"""Kept alive, each by a client of its own; a load balancer has several to every target."""
IMAGE_URL = "https://images.example.com/albums/2026/rocket.jpg"
"""Nobody fetches it."""
KEY_ID, KEY_SECRET = "bench", "secret"
NO_LIMIT_IN_SIGHT = 1_000_000
"""Submissions a minute; the limiter does its work all the same."""


def measure(*, submissions: int, rounds: int, scratch: Path) -> Comparison:
    """Submit so many tasks a round, to the API and with the floor."""
    with started(scratch) as (api, clients, bare):
        api_ms, floor_ms = take_turns(
            lambda: api.cost_ms(submissions, lambda: clients.submit(submissions)),
            lambda: bare.cost_ms(submissions, lambda: submit_by_floor(bare, submissions)),
            rounds=rounds,
        )
        return Comparison(
            program_ms=api_ms,
            floor_ms=floor_ms,
            program_calls=api.calls,
            floor_calls=bare.calls,
            units=submissions,
        )


@contextmanager
def started(scratch: Path) -> Iterator[tuple[Side, "Submitters", Side]]:
    """The API, ready, with clients of it, and the floor, for as long as the ``with`` lasts."""
    key = ApiKey(client="bench", sha256=hash_secret(KEY_SECRET), scopes=frozenset(Scope))
    secret = json.dumps({KEY_ID: key.model_dump(mode="json")})
    port = free_port()
    with (
        StubAws(images=SAMPLES, secret=secret) as api_aws,
        StubAws(images=SAMPLES, secret=secret) as floor_aws,
        running(
            programs.api(
                {**environment(api_aws), "SUBMISSIONS_PER_MINUTE": str(NO_LIMIT_IN_SIGHT)},
                port=port,
                scratch=scratch,
            ),
            scratch=scratch,
        ) as api,
        running(floor("floor_submit", environment(floor_aws)), scratch=scratch) as bare,
    ):
        clients = Submitters(port=port)
        api.wait_for(clients.find_it_ready, "become ready")
        yield Side(api_aws, api), clients, Side(floor_aws, bare)


def submit_by_floor(bare: Side, submissions: int) -> None:
    all_sent = bare.aws.queue.sent + submissions
    bare.program.tell(f"{submissions} {IMAGE_URL}")
    bare.program.wait_for(lambda: bare.aws.queue.sent >= all_sent, f"submit {submissions} tasks")


class NotAllCreated(Exception):
    """The API answered something else than 201; the message counts the statuses."""


class Submitters:
    """The other end of the API's connections."""

    def __init__(self, *, port: int) -> None:
        self._http = urllib3.HTTPConnectionPool(
            HOST,
            port,
            maxsize=CONNECTIONS,
            block=True,
            retries=False,
            headers={
                "Authorization": f"Bearer {KEY_ID}.{KEY_SECRET}",
                "Content-Type": "application/json",
            },
        )

    def find_it_ready(self) -> bool:
        try:
            return self._http.request("GET", "/readyz").status == HTTPStatus.OK
        except urllib3.exceptions.HTTPError:
            return False

    def submit(self, submissions: int) -> None:
        """Raises ``NotAllCreated``."""
        with ThreadPoolExecutor(CONNECTIONS) as threads:
            statuses = Counter(threads.map(self._submit, range(submissions)))
        if statuses != {HTTPStatus.CREATED: submissions}:
            raise NotAllCreated(f"The API answered with the statuses {dict(statuses)}.")

    def _submit(self, _: int) -> int:
        body = json.dumps({"inputImageUrl": IMAGE_URL})
        return self._http.request("POST", "/tasks", body=body).status
