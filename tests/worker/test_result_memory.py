"""Memory for results: never more than the bound, and freed in any case."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from services.common.errors import ImagingBusy
from services.worker.result_memory import RESERVATIONS, ResultMemory
from testbed.waiting import DEFAULT_TIMEOUT_S

MIB = 1024**2


@pytest.fixture
def memory() -> ResultMemory:
    return ResultMemory(max_result_bytes=MIB, max_wait_s=0.01)


@contextmanager
def held(memory: ResultMemory, count: int, size: int) -> Iterator[None]:
    """Hold memory for results of a known size during the block."""
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(memory.reserve()).shrink(size)
        yield


def test_an_image_is_given_back_while_large_results_wait_to_be_stored(memory: ResultMemory) -> None:
    with held(memory, RESERVATIONS, MIB), pytest.raises(ImagingBusy), memory.reserve():
        pass


def test_many_small_results_fit(memory: ResultMemory) -> None:
    with held(memory, 100, MIB // 100):
        pass


def test_memory_is_free_again_after_a_result_was_stored_or_failed(memory: ResultMemory) -> None:
    for _ in range(2 * RESERVATIONS):
        with suppress(ZeroDivisionError):
            fail_to_store(memory)


def fail_to_store(memory: ResultMemory) -> None:
    with memory.reserve() as reservation:
        reservation.shrink(MIB // 2)
        raise ZeroDivisionError


def test_an_image_waits_until_a_result_has_been_stored() -> None:
    memory = ResultMemory(max_result_bytes=MIB, max_wait_s=DEFAULT_TIMEOUT_S)
    processed = threading.Event()

    def process() -> None:
        with memory.reserve():
            processed.set()

    with held(memory, RESERVATIONS, MIB):
        waiting = threading.Thread(target=process)
        waiting.start()
        assert not processed.is_set()
    assert processed.wait(DEFAULT_TIMEOUT_S)
    waiting.join()
    assert memory.recent_wait_s() > 0
