"""A worker whose poll loop has stopped fails its health check."""

from testbed.fleet import WorkerProcess
from testbed.waiting import wait_until


def test_a_frozen_worker_becomes_unhealthy_and_recovers(frozen_worker: WorkerProcess) -> None:
    """Takes 30 s from the start of the session, so the name of this file sorts last."""
    wait_until(lambda: not frozen_worker.is_healthy(), "the health check fails")
    frozen_worker.thaw()
    wait_until(frozen_worker.is_healthy, "the health check succeeds after thawing")
