"""Submissions while AWS is in trouble: nothing is acknowledged that is not on record."""

import json

import pytest

from services.api.key_ring import KeyRefresher, KeyRing
from services.common.errors import SecretUnavailable
from services.common.task import Phase, Status
from services.common.task_record import to_item
from tests.api.conftest import KEYS, URL
from tests.aws_trouble.faults import UNHEARD, Kind, Service
from tests.aws_trouble.world import World
from tests.tasks import NOW, task_in
from tests.worker.test_consumer import wait_until

OPERATIONS = [
    (Service.DYNAMODB, "UpdateItem"),  # the limiter's count
    (Service.DYNAMODB, "PutItem"),
    (Service.SQS, "SendMessage"),
]
TASK_ID = "6e1f7a4e-0000-4000-8000-000000000001"


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
def test_what_is_acknowledged_is_on_record_and_gets_done(
    world: World, service: Service, operation: str, kind: Kind
) -> None:
    api = world.api()
    trouble = world.let(kind, service, operation)
    answer = api.submit(headers={"Idempotency-Key": "k"})

    assert trouble.struck
    match answer.status_code:
        case 202:
            assert service is Service.SQS
            assert world.row(answer.body["taskId"]).status is Status.PENDING
        case status:
            assert status == 503
            assert answer.body["code"] == "table_unavailable"
            assert answer.headers["Retry-After"]
            assert world.messages() == 0

    world.heal()
    repeated = api.submit(headers={"Idempotency-Key": "k"})
    assert repeated.status_code == 201
    assert world.rows() == 1
    row = world.finish(repeated.body["taskId"])
    assert (row.status, row.attempt) == (Status.COMPLETED, 1)
    assert world.stored(row)
    assert world.messages() == 0


@pytest.mark.parametrize("kind", UNHEARD)
def test_a_submission_that_was_recorded_and_answered_with_an_error_is_looked_at_soon_when_repeated(
    world: World, kind: Kind
) -> None:
    api = world.api()
    world.let(kind, Service.DYNAMODB, "PutItem")
    assert api.submit(headers={"Idempotency-Key": "k"}).status_code == 503
    world.heal()
    repeated = api.submit(headers={"Idempotency-Key": "k"})
    row = world.row(repeated.body["taskId"])
    assert row.check_at is not None
    assert (row.check_at - world.clock.now).total_seconds() == 10


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize(
    ("path", "phase", "achieved"),
    [("cancel", Phase.PENDING, Status.CANCELED), ("retry", Phase.FAILED, Status.PENDING)],
)
def test_a_cancel_or_retry_that_failed_can_be_repeated(
    world: World, path: str, phase: Phase, achieved: Status, kind: Kind
) -> None:
    row = task_in(phase, task_id=TASK_ID, created_at=NOW)
    world.cloud.dynamodb.put_item(TableName=world.cloud.resources.task_table, Item=to_item(row))
    api = world.api()
    api.submit()  # the limiter has its share
    world.let(kind, Service.DYNAMODB, "UpdateItem")
    assert api.post(f"/tasks/{TASK_ID}/{path}").status_code == 503
    took_effect = kind in UNHEARD
    assert world.row(TASK_ID).status is (achieved if took_effect else row.status)

    world.heal()
    repeated = api.post(f"/tasks/{TASK_ID}/{path}")
    if path == "retry" and took_effect:
        assert repeated.status_code == 409, "it is retried already"
    else:
        assert repeated.status_code == 200
    assert world.row(TASK_ID).status is achieved
    if path == "retry":
        assert world.finish(TASK_ID).status is Status.COMPLETED


@pytest.mark.parametrize("kind", Kind)
def test_a_task_can_be_read_again_when_the_table_answers_again(world: World, kind: Kind) -> None:
    api = world.api()
    task_id = api.submit().body["taskId"]
    world.let(kind, Service.DYNAMODB, "GetItem")
    assert api.get(f"/tasks/{task_id}").status_code == 503
    world.heal()
    assert api.get(f"/tasks/{task_id}").body["inputImageUrl"] == URL


@pytest.mark.parametrize("kind", Kind)
def test_keys_stay_valid_while_the_secret_cannot_be_read(world: World, kind: Kind) -> None:
    write_keys(world, KEYS)
    ring = KeyRing(read=world.hurt.secret.read, max_age_s=900)
    ring.refresh()
    world.let(kind, Service.SECRETS_MANAGER)
    with pytest.raises(SecretUnavailable):
        ring.refresh()
    assert ring.find("alice-1") is not None


def test_the_thread_that_refreshes_keys_outlives_trouble_of_every_kind(world: World) -> None:
    write_keys(world, {})
    ring = KeyRing(read=world.hurt.secret.read, max_age_s=900)
    refresher = KeyRefresher(ring, interval_s=0.001)
    refresher.start()
    try:
        for kind in Kind:
            trouble = world.let(kind, Service.SECRETS_MANAGER)
            wait_until(lambda trouble=trouble: len(trouble.struck) > 2)  # type: ignore[misc]
        world.heal()
        write_keys(world, KEYS)
        wait_until(lambda: ring.find("alice-1") is not None)
    finally:
        refresher.stop()


def write_keys(world: World, keys: object) -> None:
    world.cloud.secretsmanager.put_secret_value(
        SecretId=world.cloud.resources.api_keys_secret_id, SecretString=json.dumps(keys)
    )
