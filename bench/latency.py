"""Time from submission to completion of a small image, on an idle system started by `make run`."""

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from urllib.parse import quote

from bench.overhead.running_program import running
from local.ports import HOST, free_port_pair
from local.processes import Program
from local.run import KEY_ID, KEY_SECRET
from taskfleet.api_client import ApiClient

POLL_INTERVAL_S = 0.005
WARM_UP_TASKS = 5
READY = "Taskfleet is ready."


class TaskNotCompleted(Exception):
    """The message is the task as the API returned it."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from the start of the POST request to the response with status COMPLETED."""

    latencies_ms: list[float]

    def figures(self) -> dict[str, object]:
        return {
            "tasks": len(self.latencies_ms),
            "median_ms": round(median(self.latencies_ms), 1),
            "p95_ms": round(quantiles(self.latencies_ms, n=20)[-1], 1),
            "poll_interval_ms": POLL_INTERVAL_S * 1000,
        }


def measure(image: str, *, tasks: int, scratch: Path) -> Latency:
    """Submit the sample `image` `tasks` times, one task after the other."""
    port = free_port_pair()
    program = Program(
        "make run", (sys.executable, "-m", "local.run"), {**os.environ, "PORT": str(port)}
    )
    image_url = f"http://{HOST}:{port + 1}/{quote(image)}"
    with running(program, scratch=scratch) as system:
        system.wait_until(lambda: system.has_printed(READY), "become ready")
        api = ApiClient(f"http://{HOST}:{port}", key=f"{KEY_ID}.{KEY_SECRET}")
        latencies_ms = [_latency_ms(api, image_url) for _ in range(WARM_UP_TASKS + tasks)]
    return Latency(latencies_ms[WARM_UP_TASKS:])


def _latency_ms(api: ApiClient, image_url: str) -> float:
    """Submit a task and poll until it ends. Raises ``TaskNotCompleted``."""
    started = time.perf_counter()
    task = api.submit({"inputImageUrl": image_url}).body
    while task["status"] in {"PENDING", "RUNNING"}:
        time.sleep(POLL_INTERVAL_S)
        task = api.get_task(task["taskId"]).body
    latency_s = time.perf_counter() - started
    if task["status"] != "COMPLETED":
        raise TaskNotCompleted(json.dumps(task))
    return latency_s * 1000
