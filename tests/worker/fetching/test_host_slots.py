"""A slow host holds a share of the slots, and leaves the others to other hosts."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from services.common.errors import SourceDeferred
from services.worker.fetching.host_slots import (
    MAX_DEFERRAL_S,
    MEMORY_S,
    SLOW_FETCH_S,
    HostSlots,
)
from tests.worker.fetching.fetch_harness import IMAGE, fetch, fetcher_for, is_deferred
from tests.worker.fetching.loopback_source import ok, serving
from tests.worker.fetching.test_pacing import Clock

SLOW, OTHER = "slow.example:80", "other.example:80"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def slots(clock: Clock) -> HostSlots:
    return HostSlots(slots=lambda: 8, clock=clock)


@pytest.fixture
def held() -> Iterator[ExitStack]:
    """Holds slots until the test ends."""
    with ExitStack() as held:
        yield held


def deferral_s(slots: HostSlots, host: str) -> float:
    with pytest.raises(SourceDeferred) as deferred, slots.hold(host):
        pass
    assert deferred.value.retry_after_s is not None
    return deferred.value.retry_after_s


def fetch_slowly(slots: HostSlots, clock: Clock, host: str) -> None:
    with slots.hold(host):
        clock.now += SLOW_FETCH_S + 1


def test_a_slow_host_leaves_slots_to_others(
    slots: HostSlots, clock: Clock, held: ExitStack
) -> None:
    fetch_slowly(slots, clock, SLOW)
    with slots.hold(OTHER):
        pass
    for _ in range(2):
        held.enter_context(slots.hold(SLOW))
    deferral_s(slots, SLOW)
    for _ in range(6):
        held.enter_context(slots.hold(OTHER))


def test_a_host_is_slow_as_soon_as_one_fetch_takes_long(
    slots: HostSlots, clock: Clock, held: ExitStack
) -> None:
    for host in (OTHER, SLOW, SLOW):
        held.enter_context(slots.hold(host))
    held.enter_context(slots.hold(SLOW))
    clock.now += SLOW_FETCH_S + 0.1
    deferral_s(slots, SLOW)


def test_a_fast_host_may_use_all_slots(slots: HostSlots, held: ExitStack) -> None:
    with slots.hold(OTHER):
        pass
    for _ in range(8):
        held.enter_context(slots.hold(SLOW))


def test_a_slow_host_leaves_some_slots_free_although_no_other_task_arrives(
    slots: HostSlots, clock: Clock, held: ExitStack
) -> None:
    with slots.hold(OTHER):
        pass
    clock.now += MEMORY_S
    fetch_slowly(slots, clock, SLOW)
    for _ in range(6):
        held.enter_context(slots.hold(SLOW))
    deferral_s(slots, SLOW)


def test_a_host_that_becomes_fast_again_is_not_limited(
    slots: HostSlots, clock: Clock, held: ExitStack
) -> None:
    fetch_slowly(slots, clock, SLOW)
    clock.now += MEMORY_S
    with slots.hold(OTHER):
        pass
    for _ in range(8):
        held.enter_context(slots.hold(SLOW))


def test_deferred_tasks_come_back_one_after_another(
    slots: HostSlots, clock: Clock, held: ExitStack
) -> None:
    with slots.hold(OTHER):
        pass
    with slots.hold(SLOW):
        clock.now += 10
    for _ in range(2):
        held.enter_context(slots.hold(SLOW))
    clock.now += 4
    assert [deferral_s(slots, SLOW) for _ in range(3)] == [11, 16, 21]  # a slot is free after 6 s
    assert max(deferral_s(slots, SLOW) for _ in range(200)) == MAX_DEFERRAL_S


def test_a_worker_with_one_slot_still_works_for_a_slow_host(clock: Clock) -> None:
    slots = HostSlots(slots=lambda: 1, clock=clock)
    fetch_slowly(slots, clock, SLOW)
    with slots.hold(OTHER):
        pass
    with slots.hold(SLOW):
        deferral_s(slots, SLOW)


def test_a_failed_fetch_gives_its_slot_back(slots: HostSlots) -> None:
    for _ in range(20):
        with pytest.raises(OSError, match="reset"), slots.hold(SLOW):
            raise OSError("reset")


def test_a_fetch_is_deferred_while_its_host_has_its_share(slots: HostSlots, clock: Clock) -> None:
    with serving(ok(IMAGE)) as source, ExitStack() as held:
        host = f"127.0.0.1:{source.port}"
        held.enter_context(slots.hold(OTHER))
        for _ in range(2):
            held.enter_context(slots.hold(host))
        clock.now += SLOW_FETCH_S + 1
        fetcher = fetcher_for(source, slots=slots)
        assert is_deferred(fetcher, source.url())
        held.pop_all().close()
        assert fetch(fetcher, source.url()) == IMAGE
