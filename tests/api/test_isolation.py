"""One client cannot see, change or fetch another's task: for every route that there is."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from services.api.auth import public
from services.common.task import Phase, Task
from services.common.task_table import TaskTable
from tests.api.conftest import ALICE, BOB, Api, MakeApi
from tests.api.route_table import PUBLIC, Route, routes_of
from tests.api.rows import put_task
from tests.conftest import Cloud

UNKNOWN = "6e1f7a4e-0000-4000-8000-00000000ffff"
NO_IDS = ["x", UNKNOWN.upper(), "submissions", "..", "%00", "a" * 3000]


def routes_of_one_task(api: Api) -> list[Route]:
    return [(method, path) for method, path in routes_of(api.app) if "{}" in path]


def without_request_id(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "requestId"}


def test_there_are_routes_to_test(api: Api) -> None:
    assert ("GET", "/tasks/{}") in routes_of_one_task(api)
    assert ("POST", "/tasks/{}/cancel") in routes_of_one_task(api)


@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.COMPLETED, Phase.FAILED])
def test_a_task_of_another_client_looks_nonexistent(
    api: Api, cloud: Cloud, table: TaskTable, phase: Phase
) -> None:
    task = put_task(cloud, phase)

    for method, path in routes_of_one_task(api):
        others = api.call(method, path.format(task.task_id), key=BOB, headers={"Prefer": "wait=20"})
        unknown = api.call(method, path.format(UNKNOWN), key=BOB)

        assert others.status_code == unknown.status_code == 404, path
        assert without_request_id(others.body) == without_request_id(unknown.body)
        assert set(others.headers.keys()) == set(unknown.headers.keys())
    assert table.get(task.task_id) == task


def test_an_invalid_task_id_looks_like_an_unknown_one(api: Api) -> None:
    for method, path in routes_of_one_task(api):
        unknown = api.call(method, path.format(UNKNOWN))
        for no_id in NO_IDS:
            answer = api.call(method, path.format(no_id))

            assert answer.status_code == 404, (path, no_id)
            assert without_request_id(answer.body) == without_request_id(unknown.body)


def test_every_route_reads_the_table_once_whether_the_task_exists_or_not(
    make_api: MakeApi, cloud: Cloud
) -> None:
    class CountingTable(TaskTable):
        looks = 0

        def get(self, task_id: str) -> Task | None:
            self.looks += 1
            return super().get(task_id)

    task = put_task(cloud, Phase.COMPLETED)
    table = CountingTable(
        cloud.dynamodb,
        table=cloud.resources.task_table,
        retention=timedelta(days=30),
    )
    api = make_api(table=table)
    for method, path in routes_of_one_task(api):
        for task_id in (task.task_id, UNKNOWN, "x"):
            table.looks = 0
            api.call(method, path.format(task_id), key=BOB)
            assert table.looks == 1


def test_response_time_does_not_reveal_whether_a_task_exists(
    make_api: MakeApi, cloud: Cloud
) -> None:
    class Seconds:
        now = 0.0

        def read(self) -> float:
            return self.now

        def sleep(self, seconds: float) -> None:
            self.now += seconds

    task = put_task(cloud, Phase.COMPLETED)
    seconds = Seconds()

    class UnevenTable(TaskTable):
        """Takes longer over a row than over none."""

        def get(self, task_id: str) -> Task | None:
            row = super().get(task_id)
            seconds.now += 0.009 if row else 0.004
            return row

    table = UnevenTable(
        cloud.dynamodb, table=cloud.resources.task_table, retention=timedelta(days=30)
    )
    api = make_api(table=table, monotonic=seconds.read, sleep=seconds.sleep)

    for method, path in routes_of_one_task(api):
        for task_id in (task.task_id, UNKNOWN, "x"):
            started = seconds.now
            api.call(method, path.format(task_id), key=BOB)
            assert seconds.now - started == pytest.approx(0.05)


def test_every_route_except_the_public_ones_requires_a_key(api: Api) -> None:
    for method, path in routes_of(api.app):
        answer = api.call(method, path.format(UNKNOWN), key=None)

        assert (answer.status_code == 401) is ((method, path) not in PUBLIC), path


def submitting(api: Api, cloud: Cloud) -> None:
    key = {"Idempotency-Key": "the same"}
    hers, his = api.submit(key=ALICE, headers=key), api.submit(key=BOB, headers=key)

    assert hers.status_code == his.status_code == 201
    assert hers.body["taskId"] != his.body["taskId"]
    assert "Idempotent-Replayed" not in his.headers


def reading_the_catalogue(api: Api, cloud: Cloud) -> None:
    put_task(cloud, Phase.COMPLETED)

    assert api.get("/operations", key=ALICE).data == api.get("/operations", key=BOB).data


KEEPS_CLIENTS_APART: dict[Route, Callable[[Api, Cloud], None]] = {
    ("POST", "/tasks"): submitting,
    ("GET", "/operations"): reading_the_catalogue,
}
"""How each route that names no task is tried; a new one needs its line here."""


def untried_routes(api: Api) -> set[Route]:
    tried = {*PUBLIC, *routes_of_one_task(api), *KEEPS_CLIENTS_APART}
    return set(routes_of(api.app)) ^ tried


def test_every_route_has_an_isolation_test(api: Api) -> None:
    assert untried_routes(api) == set()


def test_a_new_route_without_an_isolation_test_is_detected(api: Api) -> None:
    api.app.add_url_rule("/uploads/<uploadId>", view_func=public(lambda: ""), methods=["PUT"])

    assert untried_routes(api) == {("PUT", "/uploads/<uploadId>")}


@pytest.mark.parametrize("route", KEEPS_CLIENTS_APART)
def test_a_route_without_a_task_id_isolates_clients(api: Api, cloud: Cloud, route: Route) -> None:
    KEEPS_CLIENTS_APART[route](api, cloud)


def test_a_client_sees_its_own_task(api: Api, cloud: Cloud) -> None:
    task = put_task(cloud, Phase.COMPLETED)

    assert api.get(f"/tasks/{task.task_id}", key=ALICE).status_code == 200
