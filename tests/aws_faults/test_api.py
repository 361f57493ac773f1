"""The API while calls to AWS fail: an acknowledged task is always recorded."""

import json

import pytest

from services.api.key_ring import KeyRefresher, KeyRing
from services.common.errors import SecretUnavailable
from services.common.task import Phase, Status
from testbed.waiting import wait_until
from tests.api.conftest import KEYS, URL
from tests.aws_faults.faults import RESPONSE_LOST, FaultKind, Service
from tests.aws_faults.faulty_system import FaultySystem
from tests.tasks import NOW, task_in

OPERATIONS = [
    (Service.DYNAMODB, "UpdateItem"),  # the counter of the submission limiter
    (Service.DYNAMODB, "PutItem"),
    (Service.SQS, "SendMessage"),
]
TASK_ID = "6e1f7a4e-0000-4000-8000-000000000001"


@pytest.mark.parametrize("kind", FaultKind)
@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
def test_an_acknowledged_task_is_recorded_and_a_repeated_submission_completes_it(
    system: FaultySystem, service: Service, operation: str, kind: FaultKind
) -> None:
    api = system.api()
    rule = system.inject(kind, service, operation)
    response = api.submit(headers={"Idempotency-Key": "k"})

    assert rule.failed
    match response.status_code:
        case 202:
            assert service is Service.SQS
            assert system.row(response.body["taskId"]).status is Status.PENDING
        case status:
            assert status == 503
            assert response.body["code"] == "table_unavailable"
            assert response.headers["Retry-After"]
            assert system.count_messages() == 0

    system.remove_fault()
    repeated = api.submit(headers={"Idempotency-Key": "k"})
    assert repeated.status_code == 201
    assert system.count_tasks() == 1
    row = system.finish(repeated.body["taskId"])
    assert (row.status, row.attempt) == (Status.COMPLETED, 1)
    assert system.stored(row)
    assert system.count_messages() == 0


@pytest.mark.parametrize("kind", RESPONSE_LOST)
def test_repeating_a_submission_that_was_recorded_despite_a_503_leaves_it_to_the_reconciler(
    system: FaultySystem, kind: FaultKind
) -> None:
    api = system.api()
    system.inject(kind, Service.DYNAMODB, "PutItem")
    assert api.submit(headers={"Idempotency-Key": "k"}).status_code == 503
    system.remove_fault()
    repeated = api.submit(headers={"Idempotency-Key": "k"})
    row = system.row(repeated.body["taskId"])
    assert (row.unsent, row.check_at) == (True, system.clock.now)


@pytest.mark.parametrize("kind", FaultKind)
@pytest.mark.parametrize(
    ("path", "phase", "target"),
    [("cancel", Phase.PENDING, Status.CANCELED), ("retry", Phase.FAILED, Status.PENDING)],
)
def test_a_failed_cancel_or_retry_can_be_repeated(
    system: FaultySystem, path: str, phase: Phase, target: Status, kind: FaultKind
) -> None:
    row = task_in(phase, task_id=TASK_ID, created_at=NOW)
    system.write(row)
    api = system.api()
    api.submit()  # the limiter reserves its share now, so only the task's own UpdateItem fails
    system.inject(kind, Service.DYNAMODB, "UpdateItem")
    assert api.post(f"/tasks/{TASK_ID}/{path}").status_code == 503
    took_effect = kind in RESPONSE_LOST
    assert system.row(TASK_ID).status is (target if took_effect else row.status)

    system.remove_fault()
    repeated = api.post(f"/tasks/{TASK_ID}/{path}")
    if path == "retry" and took_effect:
        assert repeated.status_code == 409, "the first retry has taken effect"
    else:
        assert repeated.status_code == 200
    assert system.row(TASK_ID).status is target
    if path == "retry":
        assert system.finish(TASK_ID).status is Status.COMPLETED


@pytest.mark.parametrize("kind", FaultKind)
def test_a_task_can_be_read_after_the_table_recovers(system: FaultySystem, kind: FaultKind) -> None:
    api = system.api()
    task_id = api.submit().body["taskId"]
    system.inject(kind, Service.DYNAMODB, "GetItem")
    assert api.get(f"/tasks/{task_id}").status_code == 503
    system.remove_fault()
    assert api.get(f"/tasks/{task_id}").body["inputImageUrl"] == URL


@pytest.mark.parametrize("kind", FaultKind)
def test_keys_stay_valid_while_the_secret_cannot_be_read(
    system: FaultySystem, kind: FaultKind
) -> None:
    write_keys(system, KEYS)
    ring = KeyRing(read=system.faulty.secret.read, max_age_s=900)
    ring.refresh()
    system.inject(kind, Service.SECRETS_MANAGER)
    with pytest.raises(SecretUnavailable):
        ring.refresh()
    assert ring.find("alice-1") is not None


def test_the_key_refresher_survives_every_kind_of_fault(system: FaultySystem) -> None:
    write_keys(system, {})
    ring = KeyRing(read=system.faulty.secret.read, max_age_s=900)
    refresher = KeyRefresher(ring, interval_s=0.001)
    refresher.start()
    try:
        for kind in FaultKind:
            rule = system.inject(kind, Service.SECRETS_MANAGER)
            wait_until(lambda rule=rule: len(rule.failed) > 2, f"calls have failed: {kind}")  # type: ignore[misc]
        system.remove_fault()
        write_keys(system, KEYS)
        wait_until(lambda: ring.find("alice-1") is not None, "the keys have been read")
    finally:
        refresher.stop()


def write_keys(system: FaultySystem, keys: object) -> None:
    system.cloud.secretsmanager.put_secret_value(
        SecretId=system.cloud.resources.api_keys_secret_id, SecretString=json.dumps(keys)
    )
