"""The container's health check on workers that do well: idle or busy, they are healthy."""

from testbed.fleet import WorkerProcess
from testbed.waiting import wait_until
from tests.flow.flow import Flow
from tests.flow.source import Held, Source, png
from tests.worker.fetching.loopback_source import ok


def test_an_idle_worker_is_healthy(bare: Flow) -> None:
    worker = bare.fleet.start_worker()
    wait_for_rounds(worker, 3)
    assert worker.is_healthy()


def test_a_worker_with_all_its_slots_taken_is_healthy(bare: Flow, source: Source) -> None:
    images = [Held(ok(png())) for _ in range(2)]
    worker = bare.fleet.start_worker(WORKER_CONCURRENCY="2")
    task_ids = [bare.submit(source.url(image)) for image in images]
    for image in images:
        image.wait_until_asked()
    wait_for_rounds(worker, 3)
    assert worker.is_healthy()
    for image in images:
        image.let_go()
    for task_id in task_ids:
        assert bare.when_over(task_id)["attempt"] == 1
    bare.when_queue_is_empty()


def test_a_worker_that_never_polled_is_not_healthy(bare: Flow) -> None:
    worker = bare.fleet.start_worker()
    worker.wait_until_polling()
    worker.kill()
    worker.health_file.unlink()
    assert not worker.is_healthy()


def wait_for_rounds(worker: WorkerProcess, count: int) -> None:
    worker.wait_until_polling()
    seen = {worker.health_file.read_text()}

    def all_seen() -> bool:
        seen.add(worker.health_file.read_text())
        return len(seen) > count

    wait_until(all_seen, f"{count} rounds of the poll loop")
