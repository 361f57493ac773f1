"""SIGTERM under load, many times: ``python -m tests.soak.drain``; the last line is one JSON object.

A worker that holds and receives messages is told to stop at a random moment. Right after its exit
the queue is asked how many messages are hidden: each of them would be stranded until its
visibility ends, as nobody works on it. Exit code 1 unless that is 0 every time, every worker exits
with 0, and in the end every task is completed.
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
from taskfleet.api_client import ApiClient, Task, is_final
from testbed.endpoints import LoopbackClients
from testbed.engines.engines import Engines, EnginesNotInstalled
from testbed.fleet import Fleet, WorkerProcess, provision
from testbed.waiting import wait_until
from tests.soak import serial_image

FOLDER: Final = Path(".local/drain")
LANES: Final = 2
"""Deployments side by side, each with a queue and one worker at a time."""
LEASE_S: Final = 60
"""As in production: whoever had to wait for its end would be noticed."""
SETTINGS: Final = {
    "LEASE_S": str(LEASE_S),
    "STOP_TIMEOUT_S": "5",  # of which half is kept for giving back
    "RECEIVE_WAIT_S": "2",
    "IMAGING_PROCESSES": "1",
    "ATTEMPT_LIMIT": "12",  # a task that is given back has used one, and that happens all the time
    "SUBMISSIONS_PER_MINUTE": "0",
}
ANSWERS_WITHIN_S: Final = 5.0
"""The source: half of the tasks that are under way at SIGTERM cannot finish in time."""
WAITING: Final = 12
"""Messages that wait at any moment: more than the worker takes at once."""
STOPS_WITHIN_S: Final = 2.0
"""After its first claim."""


@dataclass(slots=True)
class Figures:
    drains: int = 0
    stranded: int = 0
    exit_codes: list[int] = field(default_factory=list)
    given_back: int = 0
    finished: int = 0
    """Tasks that were completed between SIGTERM and exit."""
    seconds_to_exit: list[float] = field(default_factory=list)
    acknowledged: int = 0
    completed: int = 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.drain")
    parser.add_argument("--drains", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--results", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # no line for each call to moto
    print(f"seed {options.seed}, {options.drains} drains", flush=True)
    shutil.rmtree(FOLDER, ignore_errors=True)
    try:
        lanes = _drain(options.drains, seed=options.seed)
    except EnginesNotInstalled as missing:
        print(missing, file=sys.stderr)
        return 2
    waits = [wait for lane in lanes for wait in lane.seconds_to_exit]
    figures = {
        "drains": sum(lane.drains for lane in lanes),
        "stranded": sum(lane.stranded for lane in lanes),
        "exitsOtherThan0": sum(code != 0 for lane in lanes for code in lane.exit_codes),
        "finishedWhileStopping": sum(lane.finished for lane in lanes),
        "givenBack": sum(lane.given_back for lane in lanes),
        "exitP50s": round(statistics.median(waits), 2),
        "exitMaxs": round(max(waits), 2),
        "acknowledged": sum(lane.acknowledged for lane in lanes),
        "completed": sum(lane.completed for lane in lanes),
    }
    line = json.dumps(figures)
    if options.results is not None:
        options.results.write_text(f"{line}\n")
    print(line)
    as_promised = figures["stranded"] == figures["exitsOtherThan0"] == 0
    return 0 if as_promised and figures["completed"] == figures["acknowledged"] else 1


def _drain(drains: int, *, seed: int) -> Sequence[Figures]:
    FOLDER.mkdir(parents=True)
    folder = FOLDER.absolute()
    with Engines(folder) as engines, _source() as source_port, ThreadPoolExecutor(LANES) as threads:
        lanes = []
        for number in range(LANES):
            lane_folder = folder / str(number)
            lane_folder.mkdir()
            clients = LoopbackClients(engines.endpoints)
            fleet = Fleet(
                provision(clients, prefix=f"lane{number}", lease_s=LEASE_S),
                engines.endpoints,
                settings=SETTINGS,
                source_port=source_port,
                folder=lane_folder,
            )
            share = drains // LANES + (number < drains % LANES)
            lane = _Lane(fleet, clients, f"http://{HOST}:{source_port}", f"{seed}/{number}")
            lanes.append(threads.submit(lane.run, share))
        return [lane.result() for lane in lanes]


class _Lane:
    def __init__(self, fleet: Fleet, clients: LoopbackClients, source: str, seed: str) -> None:
        self._fleet = fleet
        self._queue = TaskQueue(clients.sqs, url=fleet.provisioned.resources.task_queue_url)
        self._source = source
        self._random = random.Random(seed)
        self._task_ids: list[str] = []
        self._figures = Figures()

    def run(self, drains: int) -> Figures:
        with self._fleet:
            self._fleet.start_api()
            self._fleet.wait_until_ready()
            client = self._fleet.client()
            with self._feeding(client):
                for _ in range(drains):
                    self._drain_once()
            self._finish(client)
        return self._figures

    @contextmanager
    def _feeding(self, client: ApiClient) -> Iterator[None]:
        """Keep `WAITING` messages waiting for as long as the ``with`` lasts."""
        over = threading.Event()

        def feed() -> None:
            while not over.wait(0.1):
                for _ in range(WAITING - self._queue.backlog().visible):
                    answer = client.submit({"inputImageUrl": f"{self._source}/image"})
                    self._task_ids.append(answer.body["taskId"])

        thread = threading.Thread(target=feed)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _drain_once(self) -> None:
        worker = self._fleet.start_worker()
        wait_until(lambda: "task claimed" in worker.output(), "the worker has a task")
        time.sleep(STOPS_WITHIN_S * self._random.random())
        completed_before = _count(worker, "task completed")
        told_at = time.monotonic()
        worker.terminate()
        code = worker.wait_for_exit()
        hidden = self._queue.backlog().in_flight

        figures = self._figures
        figures.seconds_to_exit.append(time.monotonic() - told_at)
        figures.drains += 1
        figures.exit_codes.append(code)
        figures.stranded += hidden
        figures.given_back += _count(worker, "task released")
        figures.finished += _count(worker, "task completed") - completed_before
        print(
            f"{worker.log.parent.name}/{worker.log.stem}: exit code {code}, {hidden} stranded",
            flush=True,
        )

    def _finish(self, client: ApiClient) -> None:
        """Let one worker do what is left."""
        self._fleet.start_worker()
        ends = [_end(client, task_id) for task_id in self._task_ids]
        self._figures.acknowledged = len(ends)
        self._figures.completed = sum(task["status"] == "COMPLETED" for task in ends)


def _end(client: ApiClient, task_id: str) -> Task:
    def look() -> Task | None:
        task: Task = client.get_task(task_id).body
        return task if is_final(task) else None

    return wait_until(look, f"the task is over: {task_id}")


def _count(worker: WorkerProcess, message: str) -> int:
    return worker.output().count(message)


@contextmanager
def _source() -> Iterator[int]:
    """A server of images that takes its time; its port."""
    server = ThreadingHTTPServer((HOST, 0), _SlowImages)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _SlowImages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        time.sleep(ANSWERS_WITHIN_S * random.random())
        body = serial_image.encode(0)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(OSError):  # whoever gave the task back has hung up
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


if __name__ == "__main__":
    sys.exit(main())
