"""The threads of a process that submissions may use."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from services.common.config import ApiConfig
from services.common.task import Phase, Task
from services.common.task_table import TaskTable
from tests.api.conftest import ALICE, BOB, Api, MakeApi
from tests.api.rows import put_task
from tests.broken_aws import BrokenTable
from tests.conftest import Cloud


class HangingTable(TaskTable):
    """A table whose writes of new tasks take until `answer` is set."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(
            cloud.dynamodb, table=cloud.resources.task_table, retention=timedelta(days=30)
        )
        self.called = threading.Semaphore(0)
        self.answer = threading.Event()

    def create(self, task: Task) -> Task:
        self.called.release()
        self.answer.wait()
        return super().create(task)


@pytest.fixture
def table(cloud: Cloud) -> HangingTable:
    return HangingTable(cloud)


@pytest.fixture
def api(make_api: MakeApi, table: HangingTable) -> Api:
    """An API with two of four threads for submissions."""
    return make_api(table=table, settings={"api_threads": 4})


@pytest.fixture
def hanging(api: Api, table: HangingTable) -> Iterator[None]:
    """As many submissions hang as may be in progress at once."""
    with ThreadPoolExecutor(2) as clients:
        submissions = [clients.submit(api.submit) for _ in range(2)]
        for _ in submissions:
            table.called.acquire()
        try:
            yield
        finally:
            table.answer.set()
    assert [submission.result().status_code for submission in submissions] == [201, 201]


@pytest.mark.usefixtures("hanging")
@pytest.mark.parametrize("key", [ALICE, BOB])
def test_submissions_are_rejected_at_once_while_their_threads_are_in_use(
    api: Api, key: str
) -> None:
    response = api.submit(key=key)

    assert response.status_code == 503
    assert response.body["code"] == "submissions_busy"
    assert int(response.headers["Retry-After"]) > 0


@pytest.mark.usefixtures("hanging")
def test_a_retry_is_a_submission(api: Api, cloud: Cloud) -> None:
    task = put_task(cloud, Phase.FAILED)

    assert api.post(f"/tasks/{task.task_id}/retry").body["code"] == "submissions_busy"


@pytest.mark.usefixtures("hanging")
def test_other_requests_are_served_while_submissions_hang(api: Api, cloud: Cloud) -> None:
    task = put_task(cloud, Phase.PENDING)

    assert api.get(f"/tasks/{task.task_id}").status_code == 200
    assert api.post(f"/tasks/{task.task_id}/cancel").status_code == 200
    assert api.get("/operations").status_code == 200


@pytest.mark.usefixtures("hanging")
def test_a_wrong_key_is_rejected_as_such_while_submissions_hang(api: Api) -> None:
    assert api.submit(key="alice-1.wrong").status_code == 401


def test_a_thread_is_free_again_after_any_outcome(make_api: MakeApi) -> None:
    api = make_api(settings={"api_threads": 2}, table=BrokenTable(), submissions_per_minute=2)

    statuses = [
        api.submit().status_code,
        api.post("/tasks", data=b"{", content_type="application/json").status_code,
        api.submit().status_code,
        api.submit(key=BOB).status_code,
    ]
    assert statuses == [503, 400, 429, 503]
    assert api.submit(key=BOB).body["code"] == "table_unavailable"


@pytest.mark.parametrize(("threads", "share"), [(1, 1), (2, 1), (3, 1), (64, 32)])
def test_submissions_may_use_half_of_the_threads(threads: int, share: int) -> None:
    config = ApiConfig(
        aws_region="us-east-1",
        task_table="t",
        task_queue_url="q",
        result_bucket="b",
        api_keys_secret_id="s",
        api_threads=threads,
    )
    assert config.submission_threads() == share
