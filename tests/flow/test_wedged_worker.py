"""A worker whose poll loop stands still is found out by the health check."""

from testbed.fleet import WorkerProcess
from testbed.waiting import wait_until


def test_a_worker_that_stands_still_becomes_unhealthy(standing_still: WorkerProcess) -> None:
    """It was healthy when it was stopped; the file of this test comes last, for it takes 30 s."""
    wait_until(lambda: not standing_still.is_healthy(), "the health check fails")
    standing_still.thaw()
    wait_until(standing_still.is_healthy, "it is healthy again when it goes on")
