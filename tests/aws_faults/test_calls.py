"""Single calls: the SDK retries a passing fault, and a lasting one raises one of our errors."""

from collections.abc import Callable

import pytest

from services.common.call_limits import CallLimits
from services.common.config import WorkerConfig
from services.common.errors import (
    AwsError,
    BucketUnavailable,
    QueueUnavailable,
    SecretUnavailable,
    TableUnavailable,
)
from tests.aws_faults.conftest import TRIES
from tests.aws_faults.faults import RETRIED, FaultKind, Service
from tests.aws_faults.faulty_system import Adapters, FaultySystem
from tests.tasks import envelope

CALLS: dict[Service, tuple[Callable[[Adapters], object], type[AwsError]]] = {
    Service.DYNAMODB: (lambda adapters: adapters.table.get("unknown"), TableUnavailable),
    Service.SQS: (
        lambda adapters: adapters.queue.send(envelope("t", request_id="r")),
        QueueUnavailable,
    ),
    Service.S3: (
        lambda adapters: adapters.bucket.put("k", b"bytes", content_type="image/png"),
        BucketUnavailable,
    ),
    Service.SECRETS_MANAGER: (lambda adapters: adapters.secret.read(), SecretUnavailable),
}


@pytest.mark.parametrize("service", Service)
@pytest.mark.parametrize("kind", RETRIED)
def test_a_passing_fault_is_retried(
    system: FaultySystem, service: Service, kind: FaultKind
) -> None:
    call, _ = CALLS[service]
    rule = system.inject(kind, service, tries=1)
    call(system.faulty)
    assert len(rule.failed) == 1


@pytest.mark.parametrize("service", Service)
@pytest.mark.parametrize("kind", FaultKind)
def test_a_lasting_fault_raises_our_error_after_the_last_try(
    system: FaultySystem, service: Service, kind: FaultKind
) -> None:
    call, error = CALLS[service]
    rule = system.inject(kind, service)
    with pytest.raises(error):
        call(system.faulty)
    assert len(rule.failed) == TRIES if kind in RETRIED else len(rule.failed) <= TRIES


def test_retries_stop_when_nearly_every_call_fails(system: FaultySystem) -> None:
    """The client's retry quota is then used up."""
    rule = system.inject(FaultKind.RESET_BEFORE, Service.DYNAMODB)
    calls = 60
    for _ in range(calls):
        with pytest.raises(TableUnavailable):
            system.faulty.table.get("unknown")
    assert len(rule.failed) < calls * TRIES


def test_the_slowest_heartbeat_ends_before_the_lease() -> None:
    defaults = {name: field.default for name, field in WorkerConfig.model_fields.items()}
    longest_heartbeat_s = 2 * CallLimits().max_call_s()
    assert max(longest_heartbeat_s, defaults["heartbeat_interval_s"]) < defaults["lease_s"]


def test_the_longest_calls_take_the_documented_time() -> None:
    limits = CallLimits()
    assert limits.max_call_s() == 28
    assert limits.max_call_s(wait_s=20) == 88
    assert limits.max_transfer_s() == 49
