"""``python -m tests.soak.drain``: stops workers under load. The last line is one JSON object.

Each drain sends SIGTERM to a worker at a random moment while it processes and receives messages.
Right after the worker's exit, the number of hidden messages is read from the queue. These messages
are stranded: no worker has them, and they stay hidden until their visibility timeout ends. The exit
code is 0 if no message is stranded, every worker exits with 0, and every task completes.
"""

import argparse
import json
import logging
import random
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from local.ports import HOST
from services.common.task_queue import TaskQueue
from taskfleet.api_client import ApiClient, TaskBody, is_final
from testbed.endpoints import LoopbackClients
from testbed.engines.engines import Engines, EnginesNotInstalled
from testbed.fleet import Fleet, WorkerProcess, provision
from testbed.waiting import wait_until
from tests.soak import serial_image

FOLDER: Final = Path(".local/drain")
DEPLOYMENTS: Final = 2
"""Concurrent deployments. Each has a queue and one worker at a time."""
LEASE_S: Final = 60
"""As in production. It is long, so a task that waits for its end delays the drain noticeably."""
SETTINGS: Final = {
    "LEASE_S": str(LEASE_S),
    "STOP_TIMEOUT_S": "5",  # half of it is reserved for releasing tasks
    "RECEIVE_WAIT_S": "2",
    "WORKER_VCPUS": "1",
    "SUBMISSIONS_PER_MINUTE": "0",
}
MAX_RESPONSE_S: Final = 5.0
"""Longest response time of the source. Half of the tasks that run at SIGTERM cannot finish."""
WAITING_MESSAGES: Final = 12
"""Visible messages at any time: more than the worker receives at once."""
MAX_RUN_S: Final = 2.0
"""Longest time from a worker's first claim to SIGTERM."""


@dataclass(slots=True)
class DrainFigures:
    drains: int = 0
    stranded: int = 0
    exit_codes: list[int] = field(default_factory=list)
    released: int = 0
    finished: int = 0
    """Tasks completed between SIGTERM and exit."""
    exit_times_s: list[float] = field(default_factory=list)
    acknowledged: int = 0
    completed: int = 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.drain")
    parser.add_argument("--drains", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--results", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # one line per call to moto is too much
    print(f"seed {options.seed}, {options.drains} drains", flush=True)
    shutil.rmtree(FOLDER, ignore_errors=True)
    try:
        parts = _drain(options.drains, seed=options.seed)
    except EnginesNotInstalled as error:
        print(error, file=sys.stderr)
        return 2
    exit_times_s = [time_s for part in parts for time_s in part.exit_times_s]
    figures = {
        "drains": sum(part.drains for part in parts),
        "stranded": sum(part.stranded for part in parts),
        "exitsOtherThan0": sum(code != 0 for part in parts for code in part.exit_codes),
        "finishedWhileStopping": sum(part.finished for part in parts),
        "givenBack": sum(part.released for part in parts),
        "exitP50s": round(statistics.median(exit_times_s), 2),
        "exitMaxs": round(max(exit_times_s), 2),
        "acknowledged": sum(part.acknowledged for part in parts),
        "completed": sum(part.completed for part in parts),
    }
    line = json.dumps(figures)
    if options.results is not None:
        options.results.write_text(f"{line}\n")
    print(line)
    is_clean = figures["stranded"] == figures["exitsOtherThan0"] == 0
    return 0 if is_clean and figures["completed"] == figures["acknowledged"] else 1


def _drain(drains: int, *, seed: int) -> Sequence[DrainFigures]:
    """Divide the drains among the deployments. Returns the figures of each deployment."""
    FOLDER.mkdir(parents=True)
    folder = FOLDER.absolute()
    with (
        Engines(folder) as engines,
        _slow_source() as source_port,
        ThreadPoolExecutor(DEPLOYMENTS) as executor,
    ):
        futures = []
        for number in range(DEPLOYMENTS):
            deployment_folder = folder / str(number)
            deployment_folder.mkdir()
            clients = LoopbackClients(engines.endpoints)
            fleet = Fleet(
                provision(clients, prefix=f"drain{number}", lease_s=LEASE_S),
                engines.endpoints,
                settings=SETTINGS,
                source_port=source_port,
                folder=deployment_folder,
            )
            share = drains // DEPLOYMENTS + (number < drains % DEPLOYMENTS)
            drained = _DrainedDeployment(
                fleet, clients, f"http://{HOST}:{source_port}", f"{seed}/{number}"
            )
            futures.append(executor.submit(drained.run, share))
        return [future.result() for future in futures]


class _DrainedDeployment:
    def __init__(self, fleet: Fleet, clients: LoopbackClients, source: str, seed: str) -> None:
        self._fleet = fleet
        self._queue = TaskQueue(clients.sqs, url=fleet.provisioned.resources.task_queue_url)
        self._source = source
        self._random = random.Random(seed)
        self._task_ids: list[str] = []
        self._figures = DrainFigures()

    def run(self, drains: int) -> DrainFigures:
        with self._fleet:
            self._fleet.start_api()
            self._fleet.wait_until_ready()
            client = self._fleet.client()
            with self._submitting(client):
                for _ in range(drains):
                    self._drain_once()
            self._finish(client)
        return self._figures

    @contextmanager
    def _submitting(self, client: ApiClient) -> Iterator[None]:
        """Keep ``WAITING_MESSAGES`` messages visible as long as the ``with`` lasts."""
        stopped = threading.Event()

        def submit() -> None:
            while not stopped.wait(0.1):
                for _ in range(WAITING_MESSAGES - self._queue.backlog().visible):
                    response = client.submit({"inputImageUrl": f"{self._source}/image"})
                    self._task_ids.append(response.body["taskId"])

        thread = threading.Thread(target=submit)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()

    def _drain_once(self) -> None:
        worker = self._fleet.start_worker()
        wait_until(lambda: "task claimed" in worker.output(), "the worker has a task")
        time.sleep(MAX_RUN_S * self._random.random())
        completed_before = _count(worker, "task completed")
        stopped_at = time.monotonic()
        worker.terminate()
        exit_code = worker.wait_for_exit()
        hidden = self._queue.backlog().in_flight

        figures = self._figures
        figures.exit_times_s.append(time.monotonic() - stopped_at)
        figures.drains += 1
        figures.exit_codes.append(exit_code)
        figures.stranded += hidden
        figures.released += _count(worker, "task released")
        figures.finished += _count(worker, "task completed") - completed_before
        print(
            f"{worker.log.parent.name}/{worker.log.stem}: exit code {exit_code}, {hidden} stranded",
            flush=True,
        )

    def _finish(self, client: ApiClient) -> None:
        """Let one worker finish all remaining tasks."""
        self._fleet.start_worker()
        tasks = [_final_task(client, task_id) for task_id in self._task_ids]
        self._figures.acknowledged = len(tasks)
        self._figures.completed = sum(task["status"] == "COMPLETED" for task in tasks)


def _final_task(client: ApiClient, task_id: str) -> TaskBody:
    def final_task() -> TaskBody | None:
        task: TaskBody = client.get_task(task_id).body
        return task if is_final(task) else None

    return wait_until(final_task, f"the task is final: {task_id}")


def _count(worker: WorkerProcess, message: str) -> int:
    return worker.output().count(message)


@contextmanager
def _slow_source() -> Iterator[int]:
    """Run a server of images that responds slowly. Yields its port."""
    server = ThreadingHTTPServer((HOST, 0), _SlowImageHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _SlowImageHandler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        time.sleep(MAX_RESPONSE_S * random.random())
        body = serial_image.encode(0)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(OSError):  # a worker that released the task has closed the connection
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


if __name__ == "__main__":
    sys.exit(main())
