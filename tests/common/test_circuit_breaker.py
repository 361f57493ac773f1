import pytest

from services.common.circuit_breaker import CircuitBreaker
from tests.clocks import MonotonicClock

FAILURES, PAUSE_S = 3, 5


@pytest.fixture
def clock() -> MonotonicClock:
    return MonotonicClock()


@pytest.fixture
def breaker(clock: MonotonicClock) -> CircuitBreaker:
    return CircuitBreaker("queue", failures=FAILURES, pause_s=PAUSE_S, monotonic=clock)


def fail(breaker: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        breaker.failed()


def test_it_allows_calls_until_several_in_a_row_have_failed(breaker: CircuitBreaker) -> None:
    fail(breaker, FAILURES - 1)
    assert breaker.allows_call()

    fail(breaker, 1)
    assert not breaker.allows_call()


def test_a_success_in_between_starts_the_count_again(breaker: CircuitBreaker) -> None:
    fail(breaker, FAILURES - 1)
    breaker.succeeded()
    fail(breaker, FAILURES - 1)

    assert breaker.allows_call()


def test_while_open_it_allows_one_call_per_pause(
    breaker: CircuitBreaker, clock: MonotonicClock
) -> None:
    fail(breaker, FAILURES)
    for _ in range(3):
        clock.advance(PAUSE_S)
        assert breaker.allows_call()
        assert not breaker.allows_call()


def test_a_failed_probe_delays_the_next(breaker: CircuitBreaker, clock: MonotonicClock) -> None:
    fail(breaker, FAILURES)
    clock.advance(PAUSE_S)
    assert breaker.allows_call()
    clock.advance(PAUSE_S - 1)
    fail(breaker, 1)
    clock.advance(PAUSE_S - 1)

    assert not breaker.allows_call()


def test_a_probe_that_succeeds_closes_it(breaker: CircuitBreaker, clock: MonotonicClock) -> None:
    fail(breaker, FAILURES)
    clock.advance(PAUSE_S)
    assert breaker.allows_call()
    breaker.succeeded()

    assert breaker.allows_call()
    assert breaker.allows_call()
