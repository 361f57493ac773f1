"""One call to each service: what passes is not noticed, what lasts is one error after few tries."""

from collections.abc import Callable

import pytest

from services.common.aws import CallLimits
from services.common.config import WorkerConfig
from services.common.errors import (
    AwsError,
    BucketUnavailable,
    QueueUnavailable,
    SecretUnavailable,
    TableUnavailable,
)
from tests.aws_trouble.conftest import TRIES
from tests.aws_trouble.faults import RETRIED, Kind, Service
from tests.aws_trouble.world import Parts, World

CALLS: dict[Service, tuple[Callable[[Parts], object], type[AwsError]]] = {
    Service.DYNAMODB: (lambda parts: parts.table.get("nobody"), TableUnavailable),
    Service.SQS: (lambda parts: parts.queue.send("t", request_id="r"), QueueUnavailable),
    Service.S3: (
        lambda parts: parts.bucket.put("k", b"bytes", content_type="image/png"),
        BucketUnavailable,
    ),
    Service.SECRETS_MANAGER: (lambda parts: parts.secret.read(), SecretUnavailable),
}


@pytest.mark.parametrize("service", Service)
@pytest.mark.parametrize("kind", RETRIED)
def test_what_passes_is_not_noticed(world: World, service: Service, kind: Kind) -> None:
    call, _ = CALLS[service]
    trouble = world.let(kind, service, tries=1)
    call(world.hurt)
    assert len(trouble.struck) == 1


@pytest.mark.parametrize("service", Service)
@pytest.mark.parametrize("kind", Kind)
def test_what_lasts_is_one_error_of_ours_after_the_last_try(
    world: World, service: Service, kind: Kind
) -> None:
    call, error = CALLS[service]
    trouble = world.let(kind, service)
    with pytest.raises(error):
        call(world.hurt)
    assert len(trouble.struck) == TRIES if kind in RETRIED else len(trouble.struck) <= TRIES


def test_nobody_retries_without_end(world: World) -> None:
    """When nearly everything fails, the quota of the client ends retries altogether."""
    trouble = world.let(Kind.RESET_BEFORE, Service.DYNAMODB)
    calls = 60
    for _ in range(calls):
        with pytest.raises(TableUnavailable):
            world.hurt.table.get("nobody")
    assert len(trouble.struck) < calls * TRIES


def test_a_beat_that_meets_the_worst_of_both_calls_still_comes_before_the_lease_ends() -> None:
    defaults = {name: field.default for name, field in WorkerConfig.model_fields.items()}
    longest_beat_s = 2 * CallLimits().max_call_s()
    assert max(longest_beat_s, defaults["heartbeat_interval_s"]) < defaults["lease_s"]


def test_no_call_takes_longer_than_the_documentation_says() -> None:
    limits = CallLimits()
    assert limits.max_call_s() == 28
    assert limits.max_call_s(wait_s=20) == 88
    assert limits.max_transfer_s() == 49
