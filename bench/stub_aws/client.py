"""Starts a stub of AWS and gives it commands."""

import json
import os
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import urllib3

from bench.stub_aws.service import CONTROL, IMAGES, QUEUE_PATH, Latencies
from bench.stub_aws.table import Item
from local.aws_resources import NO_API_KEYS
from local.embedded_aws import isolated
from local.ports import HOST, bind_error, free_port
from local.processes import Program
from testbed.process import Process
from testbed.waiting import wait_until


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Counts since the start of the stub."""

    calls: Counter[str]
    completed: int
    """Rows that became COMPLETED."""
    sent: int
    receives: int
    """Receive calls that returned messages."""
    received: int
    deleted: int
    redelivered: int
    write_units: int
    cpu_s: float
    """CPU time of the stub itself."""

    @property
    def in_flight(self) -> int:
        return self.received - self.deleted - self.redelivered

    def __sub__(self, earlier: "State") -> "State":
        numbers = {
            name: value - getattr(earlier, name)
            for name, value in asdict(self).items()
            if name != "calls"
        }
        return State(calls=self.calls - earlier.calls, **numbers)


class StubAws:
    """Runs inside a ``with`` block. It serves the files in the folder `images`."""

    def __init__(self, *, images: Path, log: Path, secret: str = NO_API_KEYS) -> None:
        self.port = free_port()
        self.endpoint_url = f"http://{HOST}:{self.port}"
        self._http = urllib3.PoolManager(retries=False)
        command = (sys.executable, "-m", "bench.stub_aws", str(self.port), str(images), secret)
        self._process = Process(Program("stub of AWS", command, os.environ), log=log)

    def __enter__(self) -> Self:
        wait_until(lambda: bind_error(self.port), "the stub of AWS listens")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()

    def image_url(self, name: str) -> str:
        return f"{self.endpoint_url}{IMAGES}{name}"

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """`base` plus the variables that a program needs to use the stub."""
        return {
            **isolated(base, endpoint_url=self.endpoint_url),
            "TASK_TABLE": "tasks",
            "TASK_QUEUE_URL": f"{self.endpoint_url}{QUEUE_PATH}",
            "DEAD_LETTER_QUEUE_URL": f"{self.endpoint_url}{QUEUE_PATH}-dead",
            "RESULT_BUCKET": "results",
            "API_KEYS_SECRET_ID": "api-keys",
        }

    def state(self) -> State:
        state = self._command("state")
        return State(**{**state, "calls": Counter(state["calls"])})

    def completions(self, *, since: int) -> list[float]:
        """When rows became COMPLETED, on the monotonic clock, without the first `since`."""
        at: list[float] = self._command("completions", since=since)["at"]
        return at

    def rows(self) -> list[Item]:
        rows: list[Item] = self._command("rows")["rows"]
        return rows

    def delay(self, latencies: Latencies) -> None:
        self._command("delay", **asdict(latencies))

    def put_rows(self, template: Item, *, first: int, count: int) -> None:
        """Write `count` rows like `template`. Their task IDs are numbered, beginning at `first`."""
        self._command("put_rows", template=template, first=first, count=count)

    def send(self, *, first: int, count: int) -> None:
        """Send the messages of the tasks with these numbers."""
        self._command("send", first=first, count=count)

    def hold_messages(self) -> None:
        """Hold back all messages from now on, so that a round starts with a backlog."""
        self._command("hold", on=True)

    def release(self, count: int) -> None:
        """Make the oldest `count` messages that are held back visible."""
        self._command("release", count=count)

    def purge_queue(self) -> None:
        """Remove all messages that are not in flight."""
        self._command("purge_queue")

    def forget_rows(self) -> None:
        self._command("forget_rows")

    def _command(self, name: str, **arguments: Any) -> Any:
        url = f"{self.endpoint_url}{CONTROL}{name}"
        return json.loads(self._http.request("POST", url, json=arguments).data)
