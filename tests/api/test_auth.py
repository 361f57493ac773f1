"""Authentication by key and authorization by scope."""

import json

import pytest
import structlog
from flask import Flask

from services.api.auth import Authenticator, public
from services.api.key_ring import KeyRing
from services.common.api_key import Scope
from services.common.task import Phase
from services.common.task_table import TaskTable
from tests.api.conftest import ALICE, KEYS, Api, MakeApi, key_entry
from tests.api.route_table import PUBLIC, routes_of
from tests.api.rows import put_task
from tests.conftest import Clock, Cloud
from tests.tasks import LEASE, RESULT

INVALID = {
    "no header": None,
    "another scheme": f"Basic {ALICE}",
    "no token": "Bearer",
    "no secret": "Bearer alice-1",
    "an empty secret": "Bearer alice-1.",
    "a wrong secret": "Bearer alice-1.wrong",
    "the secret of another key": "Bearer alice-1.bobs-secret",
    "an unknown key": "Bearer unknown.alices-secret",
    "the hash for the secret": f"Bearer alice-1.{KEYS['alice-1']['sha256']}",
    "text after the secret": f"Bearer {ALICE}.more",
    "two tokens": f"Bearer {ALICE} {ALICE}",
    "non-ASCII text": "Bearer alice-1.ålices-secret",
    "a very long secret": "Bearer alice-1." + "x" * 5000,
}


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_key_is_rejected(api: Api, case: str) -> None:
    authorization = INVALID[case]
    headers = {"Authorization": authorization} if authorization else {}
    response = api.get("/operations", key=None, headers=headers)

    assert response.status_code == 401
    assert response.body["code"] == "unauthorized"
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="taskfleet"'


def test_the_authorization_scheme_is_case_insensitive(api: Api) -> None:
    response = api.get("/operations", key=None, headers={"Authorization": f"bEARER {ALICE}"})

    assert response.status_code == 200


def test_a_rejected_key_is_logged_without_its_secret(api: Api) -> None:
    with structlog.testing.capture_logs() as entries:
        api.get("/operations", key="alice-1.a-wrong-secret")
        api.get("/operations", key="a-misplaced.secret-of-length")

    rejected = [entry["key_id"] for entry in entries if entry["event"] == "key rejected"]
    assert rejected == ["alice-1", None]
    for text in ("a-wrong-secret", "a-misplaced", "secret-of-length"):
        assert text not in str(entries)


def test_the_key_is_checked_before_the_body(api: Api) -> None:
    response = api.post("/tasks", key=None, data=b"{", content_type="text/plain")

    assert response.status_code == 401


REQUIRED_SCOPES = {
    ("POST", "/tasks"): {Scope.SUBMIT},
    ("GET", "/tasks/{}"): {Scope.READ},
    ("GET", "/tasks/{}/result"): {Scope.READ},
    ("POST", "/tasks/{}/cancel"): {Scope.OPERATE},
    ("POST", "/tasks/{}/retry"): {Scope.OPERATE},
    ("GET", "/operations"): set(Scope),
    ("GET", "/limits"): set(Scope),
}


def test_every_protected_route_has_a_scope_test(api: Api) -> None:
    assert REQUIRED_SCOPES.keys() == set(routes_of(api.app)) - PUBLIC


@pytest.mark.parametrize(("method", "path"), REQUIRED_SCOPES)
@pytest.mark.parametrize("scope", Scope)
def test_a_scope_grants_its_routes_only(
    api: Api, cloud: Cloud, method: str, path: str, scope: Scope
) -> None:
    task = put_task(cloud, Phase.COMPLETED)
    response = api.call(method, path.format(task.task_id), key=f"{scope}-only.alices-secret")

    if scope in REQUIRED_SCOPES[method, path]:
        assert response.status_code != 403
    else:
        assert response.status_code == 403
        assert response.body["code"] == "forbidden"


def test_a_submit_only_key_gets_no_result_url_from_a_repeated_submission(
    api: Api, table: TaskTable, clock: Clock
) -> None:
    submission = {"headers": {"Idempotency-Key": "k"}, "key": "submit-only.alices-secret"}
    task_id = api.submit(**submission).body["taskId"]
    claim = table.claim(task_id, lease_owner="w", lease_until=clock.now + LEASE, now=clock.now)
    table.complete(claim, RESULT, now=clock.now)

    repeated = api.submit(**submission).body
    assert (repeated["taskId"], repeated["status"]) == (task_id, "COMPLETED")
    assert "resultUrl" not in repeated
    assert "resultUrl" in api.get(f"/tasks/{task_id}").body


def test_a_key_without_scopes_grants_nothing(make_api: MakeApi, cloud: Cloud) -> None:
    without_scopes = {"no-scopes": key_entry("alice", secret="alices-secret", scopes=set())}
    keys = KeyRing(read=lambda: json.dumps(without_scopes), max_age_s=900)
    keys.refresh()
    api = make_api(keys=keys)
    task = put_task(cloud, Phase.COMPLETED)

    for method, path in REQUIRED_SCOPES:
        response = api.call(method, path.format(task.task_id), key="no-scopes.alices-secret")
        assert (response.status_code, response.body["code"]) == (403, "forbidden")


def test_all_keys_of_a_client_see_its_tasks(api: Api) -> None:
    task_id = api.submit(key="submit-only.alices-secret").body["taskId"]

    assert api.get(f"/tasks/{task_id}", key="read-only.alices-secret").status_code == 200


def test_requests_get_503_while_the_keys_cannot_be_read(make_api: MakeApi) -> None:
    never_read = KeyRing(read=lambda: json.dumps(KEYS), max_age_s=900)
    response = make_api(keys=never_read).get("/operations")

    assert response.status_code == 503
    assert response.body["failing"] == ["secret"]


def test_a_revoked_key_is_rejected_after_the_next_refresh(make_api: MakeApi) -> None:
    secret = dict(KEYS)
    keys = KeyRing(read=lambda: json.dumps(secret), max_age_s=900)
    keys.refresh()
    api = make_api(keys=keys)
    assert api.get("/operations").status_code == 200

    del secret["alice-1"]
    secret["alice-2"] = key_entry("alice", secret="newer", scopes={Scope.READ})
    keys.refresh()

    assert api.get("/operations").status_code == 401
    assert api.get("/operations", key="alice-2.newer").status_code == 200


def test_the_app_does_not_start_with_an_unmarked_route() -> None:
    app = Flask("app", static_folder=None)
    app.add_url_rule("/marked", "marked", public(lambda: ""))
    app.add_url_rule("/unmarked", "unmarked", lambda: "")
    keys = KeyRing(read=lambda: "{}", max_age_s=900)

    with pytest.raises(RuntimeError, match=r"^unmarked needs @requires or @public\.$"):
        Authenticator(keys).install(app)
