"""The limit on submissions per client and minute."""

import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, NoReturn

import pytest

from services.api.http_errors import SubmissionsLimited
from services.api.submission_limiter import SubmissionCounter, SubmissionLimiter
from services.common.errors import TableUnavailable
from services.common.task import Phase
from tests.api.conftest import BOB, URL, MakeApi
from tests.api.rows import put_task
from tests.conftest import Clock, Cloud


class CountingCounter(SubmissionCounter):
    calls = 0

    def reserve(self, owner: str, window: datetime, *, amount: int, limit: int) -> int | None:
        self.calls += 1
        return super().reserve(owner, window, amount=amount, limit=limit)


@pytest.fixture
def counter(cloud: Cloud) -> CountingCounter:
    return CountingCounter(cloud.dynamodb, table=cloud.resources.task_table)


def limiter(counter: SubmissionCounter, clock: Clock, *, limit: int) -> SubmissionLimiter:
    """The limiter of one API process."""
    return SubmissionLimiter(counter=counter, limit=limit, clock=clock)


def try_take(process: SubmissionLimiter, owner: str = "alice", *, amount: int = 1) -> bool:
    try:
        process.take(owner, amount=amount)
    except SubmissionsLimited:
        return False
    return True


def count_accepted(*processes: SubmissionLimiter, submissions: int) -> int:
    """How many of `submissions`, spread over `processes`, are accepted."""
    return sum(try_take(processes[number % len(processes)]) for number in range(submissions))


def test_the_limit_is_reached_exactly_and_never_exceeded(
    counter: CountingCounter, clock: Clock
) -> None:
    assert count_accepted(limiter(counter, clock, limit=100), submissions=150) == 100


def test_processes_share_one_limit(counter: CountingCounter, clock: Clock) -> None:
    processes = [limiter(counter, clock, limit=100) for _ in range(4)]

    assert count_accepted(*processes, submissions=600) == 100


def test_a_restart_does_not_reset_the_limit(counter: CountingCounter, clock: Clock) -> None:
    before = count_accepted(limiter(counter, clock, limit=100), submissions=60)
    after = count_accepted(limiter(counter, clock, limit=100), submissions=100)

    assert 100 - 100 // 16 <= before + after <= 100


def test_concurrent_threads_do_not_exceed_the_limit(counter: CountingCounter, clock: Clock) -> None:
    process = limiter(counter, clock, limit=40)
    with ThreadPoolExecutor(8) as threads:
        outcomes = Counter(threads.map(lambda _: try_take(process), range(120)))

    assert outcomes == {True: 40, False: 80}


def test_most_submissions_need_no_call(counter: CountingCounter, clock: Clock) -> None:
    count_accepted(limiter(counter, clock, limit=600), submissions=600)

    assert counter.calls < 100


def test_rejections_need_no_call(counter: CountingCounter, clock: Clock) -> None:
    process = limiter(counter, clock, limit=10)
    count_accepted(process, submissions=10)
    calls = counter.calls

    assert count_accepted(process, submissions=50) == 0
    assert counter.calls == calls


def test_each_client_has_its_own_limit(counter: CountingCounter, clock: Clock) -> None:
    process = limiter(counter, clock, limit=5)
    count_accepted(process, submissions=9)

    assert try_take(process, "bob")


def test_the_limit_resets_every_minute(counter: CountingCounter, clock: Clock) -> None:
    process = limiter(counter, clock, limit=5)
    count_accepted(process, submissions=9)
    clock.advance(timedelta(minutes=1))

    assert count_accepted(process, submissions=9) == 5


def test_the_count_expires(cloud: Cloud, counter: CountingCounter, clock: Clock) -> None:
    limiter(counter, clock, limit=5).take("alice")
    [item] = cloud.dynamodb.scan(TableName=cloud.resources.task_table)["Items"]

    assert float(item["expiresAt"]["N"]) == pytest.approx(
        (clock.now + timedelta(hours=1)).timestamp(), abs=60
    )


def test_a_limit_of_zero_means_unlimited_and_needs_no_call(
    counter: CountingCounter, clock: Clock
) -> None:
    assert count_accepted(limiter(counter, clock, limit=0), submissions=20) == 20
    assert counter.calls == 0


def test_a_limited_client_is_told_when_to_retry(
    make_api: MakeApi, cloud: Cloud, clock: Clock
) -> None:
    api = make_api(submissions_per_minute=2)
    responses = [api.submit() for _ in range(3)]

    assert [response.status_code for response in responses] == [201, 201, 429]
    assert responses[2].body["code"] == "submissions_limited"
    assert responses[2].headers["Retry-After"] == "55"  # the clock is 5.678 s into its minute
    assert cloud.messages()["queue"] == 2
    assert api.submit(key=BOB).status_code == 201
    clock.advance(timedelta(seconds=55))
    assert api.submit().status_code == 201


def test_every_submission_says_what_is_left_of_the_limit(make_api: MakeApi, clock: Clock) -> None:
    api = make_api(submissions_per_minute=3)
    clock.advance(timedelta(seconds=4))
    large = json.dumps({"inputImageUrl": URL}) + " " * 4_096
    responses = [
        api.submit(),
        api.post("/tasks", data=large, content_type="application/json"),
        api.submit(),
    ]

    assert [response.status_code for response in responses] == [201, 201, 429]
    assert [response.headers["RateLimit"] for response in responses] == [
        '"default";r=2;t=51',
        '"default";r=0;t=51',
        '"default";r=0;t=51',
    ]
    policies = {response.headers["RateLimit-Policy"] for response in responses}
    assert policies == {'"default";q=3;w=60'}
    assert responses[2].headers["Retry-After"] == "51"


def test_without_a_limit_and_on_other_routes_there_are_no_limit_headers(make_api: MakeApi) -> None:
    unlimited, limited = make_api(), make_api(submissions_per_minute=3)

    for response in (unlimited.submit(), limited.get("/operations")):
        assert "RateLimit" not in response.headers
        assert "RateLimit-Policy" not in response.headers


def test_a_retry_counts_as_a_submission(make_api: MakeApi, cloud: Cloud) -> None:
    task = put_task(cloud, Phase.FAILED)
    api = make_api(submissions_per_minute=1)
    api.submit()

    assert api.post(f"/tasks/{task.task_id}/retry").status_code == 429


@pytest.mark.parametrize("body", [b"{}", b"not JSON", b""])
def test_an_invalid_submission_counts_and_is_not_even_parsed_beyond_the_limit(
    make_api: MakeApi, body: bytes
) -> None:
    api = make_api(submissions_per_minute=1)

    statuses = [
        api.post("/tasks", data=body, content_type="application/json").status_code for _ in range(2)
    ]
    assert statuses == [400, 429]


def test_a_large_body_counts_as_several_submissions(make_api: MakeApi) -> None:
    api = make_api(submissions_per_minute=1 + 10_000 // 4_096)
    padded = json.dumps({"inputImageUrl": URL}) + " " * 10_000

    statuses = [
        api.post("/tasks", data=padded, content_type="application/json").status_code
        for _ in range(2)
    ]
    assert statuses == [201, 429]


def test_a_rejected_key_does_not_count(make_api: MakeApi) -> None:
    api = make_api(submissions_per_minute=1)
    api.submit(key="alice-1.wrong")
    api.submit(key="read-only.alices-secret")

    assert api.submit().status_code == 201


@pytest.mark.parametrize("amount", [2, 7, 16])
def test_charges_of_several_never_exceed_the_limit(
    counter: CountingCounter, clock: Clock, amount: int
) -> None:
    processes = [limiter(counter, clock, limit=100) for _ in range(3)]
    accepted = sum(try_take(processes[number % 3], amount=amount) for number in range(100))

    assert 100 - 3 * amount < accepted * amount <= 100


def test_what_is_too_little_for_a_large_charge_is_left_for_small_ones(
    counter: CountingCounter, clock: Clock
) -> None:
    process = limiter(counter, clock, limit=10)
    assert try_take(process, amount=8)
    assert not try_take(process, amount=8)

    assert count_accepted(process, submissions=5) == 2


def test_submissions_do_not_wait_for_one_hanging_call_after_the_other(
    cloud: Cloud, clock: Clock
) -> None:
    class HangingCounter(SubmissionCounter):
        called, answer = threading.Event(), threading.Event()

        def reserve(self, *_: Any, **__: Any) -> NoReturn:
            self.called.set()
            self.answer.wait()
            raise TableUnavailable("UpdateItem: Timeout")

    hanging = HangingCounter(cloud.dynamodb, table=cloud.resources.task_table)
    process = SubmissionLimiter(counter=hanging, limit=10, clock=clock, lock_timeout_s=0.01)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(process.take, "alice")
        hanging.called.wait()
        try:
            with pytest.raises(TableUnavailable):
                process.take("alice")
            assert not first.done()
        finally:
            hanging.answer.set()
