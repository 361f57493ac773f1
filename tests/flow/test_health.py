"""The container's health check of workers that are idle, busy or not started."""

from testbed.fleet import WorkerProcess
from testbed.waiting import wait_until
from tests.flow.source import FlowSource, HeldResponder, png
from tests.flow.system import DeployedSystem
from tests.worker.fetching.loopback_source import ok


def test_an_idle_worker_is_healthy(api_only: DeployedSystem) -> None:
    worker = api_only.fleet.start_worker()
    wait_for_polls(worker, 3)
    assert worker.is_healthy()


def test_a_worker_with_all_slots_in_use_is_healthy(
    api_only: DeployedSystem, source: FlowSource
) -> None:
    images = [HeldResponder(ok(png())) for _ in range(2)]
    worker = api_only.fleet.start_worker(WORKER_CONCURRENCY="2")
    task_ids = [api_only.submit(source.url(image)) for image in images]
    for image in images:
        image.wait_until_requested()
    wait_for_polls(worker, 3)
    assert worker.is_healthy()
    for image in images:
        image.release()
    for task_id in task_ids:
        assert api_only.wait_until_final(task_id)["attempt"] == 1
    api_only.wait_until_queue_is_empty()


def test_a_worker_that_never_polled_is_unhealthy(api_only: DeployedSystem) -> None:
    worker = api_only.fleet.start_worker()
    worker.wait_until_polling()
    worker.kill()
    worker.health_file.unlink()
    assert not worker.is_healthy()


def wait_for_polls(worker: WorkerProcess, count: int) -> None:
    """Wait until the poll loop has touched the health file this many times."""
    worker.wait_until_polling()
    contents = {worker.health_file.read_text()}

    def has_polled() -> bool:
        contents.add(worker.health_file.read_text())
        return len(contents) > count

    wait_until(has_polled, f"{count} rounds of the poll loop")
