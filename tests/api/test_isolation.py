"""No route lets a client read or change the task of another client."""

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
from tests.clocks import MonotonicClock
from tests.conftest import Cloud

UNKNOWN = "6e1f7a4e-0000-4000-8000-00000000ffff"
INVALID_IDS = ["x", UNKNOWN.upper(), "submissions", "..", "%00", "a" * 3000]


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
        foreign_path = path.format(task.task_id)
        foreign = api.call(method, foreign_path, key=BOB, headers={"Prefer": "wait=20"})
        unknown = api.call(method, path.format(UNKNOWN), key=BOB)

        assert foreign.status_code == unknown.status_code == 404, path
        assert without_request_id(foreign.body) == without_request_id(unknown.body)
        assert set(foreign.headers.keys()) == set(unknown.headers.keys())
    assert table.get(task.task_id) == task


def test_an_invalid_task_id_looks_like_an_unknown_one(api: Api) -> None:
    for method, path in routes_of_one_task(api):
        unknown = api.call(method, path.format(UNKNOWN))
        for invalid_id in INVALID_IDS:
            response = api.call(method, path.format(invalid_id))

            assert response.status_code == 404, (path, invalid_id)
            assert without_request_id(response.body) == without_request_id(unknown.body)


def test_every_route_reads_the_table_once_whether_the_task_exists_or_not(
    make_api: MakeApi, cloud: Cloud
) -> None:
    class CountingTable(TaskTable):
        reads = 0

        def get(self, task_id: str) -> Task | None:
            self.reads += 1
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
            table.reads = 0
            api.call(method, path.format(task_id), key=BOB)
            assert table.reads == 1


def test_response_time_does_not_reveal_whether_a_task_exists(
    make_api: MakeApi, cloud: Cloud
) -> None:
    task = put_task(cloud, Phase.COMPLETED)
    clock = MonotonicClock()

    class SlowTable(TaskTable):
        """Takes longer if there is a row."""

        def get(self, task_id: str) -> Task | None:
            row = super().get(task_id)
            clock.advance(0.009 if row else 0.004)
            return row

    table = SlowTable(
        cloud.dynamodb, table=cloud.resources.task_table, retention=timedelta(days=30)
    )
    api = make_api(table=table, monotonic=clock, sleep=clock.advance)

    for method, path in routes_of_one_task(api):
        for task_id in (task.task_id, UNKNOWN, "x"):
            started = clock.now
            api.call(method, path.format(task_id), key=BOB)
            assert clock.now - started == pytest.approx(0.05)


def test_every_route_except_the_public_ones_requires_a_key(api: Api) -> None:
    for method, path in routes_of(api.app):
        response = api.call(method, path.format(UNKNOWN), key=None)

        assert (response.status_code == 401) is ((method, path) not in PUBLIC), path


def check_submit(api: Api, cloud: Cloud) -> None:
    headers = {"Idempotency-Key": "shared"}
    alices, bobs = (api.submit(key=key, headers=headers) for key in (ALICE, BOB))

    assert alices.status_code == bobs.status_code == 201
    assert alices.body["taskId"] != bobs.body["taskId"]
    assert "Idempotent-Replayed" not in bobs.headers


def check_catalogue(api: Api, cloud: Cloud) -> None:
    put_task(cloud, Phase.COMPLETED)

    assert api.get("/operations", key=ALICE).data == api.get("/operations", key=BOB).data


def check_limits(api: Api, cloud: Cloud) -> None:
    put_task(cloud, Phase.COMPLETED)

    assert api.get("/limits", key=ALICE).data == api.get("/limits", key=BOB).data


ISOLATION_CHECKS: dict[Route, Callable[[Api, Cloud], None]] = {
    ("POST", "/tasks"): check_submit,
    ("GET", "/operations"): check_catalogue,
    ("GET", "/limits"): check_limits,
}
"""How each route without a task id is tested. A new route needs an entry here."""


def untested_routes(api: Api) -> set[Route]:
    tested = {*PUBLIC, *routes_of_one_task(api), *ISOLATION_CHECKS}
    return set(routes_of(api.app)) ^ tested


def test_every_route_has_an_isolation_test(api: Api) -> None:
    assert untested_routes(api) == set()


def test_a_new_route_without_an_isolation_test_is_detected(api: Api) -> None:
    api.app.add_url_rule("/uploads/<uploadId>", view_func=public(lambda: ""), methods=["PUT"])

    assert untested_routes(api) == {("PUT", "/uploads/<uploadId>")}


@pytest.mark.parametrize("route", ISOLATION_CHECKS)
def test_a_route_without_a_task_id_isolates_clients(api: Api, cloud: Cloud, route: Route) -> None:
    ISOLATION_CHECKS[route](api, cloud)


def test_a_client_sees_its_own_task(api: Api, cloud: Cloud) -> None:
    task = put_task(cloud, Phase.COMPLETED)

    assert api.get(f"/tasks/{task.task_id}", key=ALICE).status_code == 200
