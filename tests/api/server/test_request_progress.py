import pytest

from services.api.server.request_progress import RequestProgress
from tests.clocks import MonotonicClock

STALL_S = 60


@pytest.fixture
def clock() -> MonotonicClock:
    return MonotonicClock()


@pytest.fixture
def progress(clock: MonotonicClock) -> RequestProgress:
    return RequestProgress(stall_s=STALL_S, monotonic=clock)


def test_an_idle_server_is_never_stalled(progress: RequestProgress, clock: MonotonicClock) -> None:
    clock.advance(10 * STALL_S)
    assert not progress.is_stalled()


def test_busy_threads_are_not_stalled_while_no_request_waits(
    progress: RequestProgress, clock: MonotonicClock
) -> None:
    progress.queued()
    progress.started()
    clock.advance(10 * STALL_S)
    assert not progress.is_stalled()


def test_requests_that_wait_while_no_thread_finishes_one_mean_a_stall(
    progress: RequestProgress, clock: MonotonicClock
) -> None:
    clock.advance(10 * STALL_S)  # idle before
    progress.queued()
    clock.advance(STALL_S)
    assert not progress.is_stalled()
    clock.advance(1)
    assert progress.is_stalled()


def test_a_finished_request_ends_a_stall_although_others_wait(
    progress: RequestProgress, clock: MonotonicClock
) -> None:
    progress.queued()
    progress.queued()
    clock.advance(STALL_S + 1)
    progress.started()
    progress.finished()
    assert progress.waiting == 1
    assert not progress.is_stalled()
