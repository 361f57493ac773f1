"""How long a client waits for a small image on the idle local cloud: what `make run` starts."""

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from urllib.parse import quote

import urllib3

from bench.overhead.running import running
from local.ports import HOST, free_port_pair
from local.processes import Program
from local.run import KEY_ID, KEY_SECRET

ASK_EVERY_S = 0.005
WARM_UP = 5
READY = "Taskfleet is ready."


class TaskNotCompleted(Exception):
    """The message is the task as its client sees it."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from the beginning of the POST to the answer that says COMPLETED."""

    waits_ms: list[float]

    def figures(self) -> dict[str, object]:
        return {
            "tasks": len(self.waits_ms),
            "median_ms": round(median(self.waits_ms), 1),
            "p95_ms": round(quantiles(self.waits_ms, n=20)[-1], 1),
            "asked_every_ms": ASK_EVERY_S * 1000,
        }


def measure(image: str, *, tasks: int, scratch: Path) -> Latency:
    """Submit the sample `image` again and again, each time when the last one is done."""
    port = free_port_pair()
    program = Program(
        "make run", (sys.executable, "-m", "local.run"), {**os.environ, "PORT": str(port)}
    )
    with running(program, scratch=scratch) as system:
        system.wait_for(lambda: system.has_said(READY), "become ready")
        client = _Client(port=port)
        waits_ms = [client.wait_ms(image) for _ in range(WARM_UP + tasks)]
    return Latency(waits_ms[WARM_UP:])


class _Client:
    def __init__(self, *, port: int) -> None:
        self._http = urllib3.HTTPConnectionPool(
            HOST,
            port,
            headers={
                "Authorization": f"Bearer {KEY_ID}.{KEY_SECRET}",
                "Content-Type": "application/json",
            },
        )
        self._samples = f"http://{HOST}:{port + 1}"

    def wait_ms(self, image: str) -> float:
        """Submit and ask until it is over. Raises ``TaskNotCompleted``."""
        body = json.dumps({"inputImageUrl": f"{self._samples}/{quote(image)}"})
        started = time.perf_counter()
        task = self._http.request("POST", "/tasks", body=body).json()
        while task["status"] in {"PENDING", "RUNNING"}:
            time.sleep(ASK_EVERY_S)
            task = self._http.request("GET", f"/tasks/{task['taskId']}").json()
        waited_s = time.perf_counter() - started
        if task["status"] != "COMPLETED":
            raise TaskNotCompleted(json.dumps(task))
        return waited_s * 1000
