"""``make run`` as its user meets it: real processes on free ports."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from time import monotonic, sleep
from typing import Any

import psutil
import pytest
from PIL import Image

from local.options import SAMPLES
from local.ports import HOST, bind_error, free_port_pair
from local.samples_server import images_in
from tests.local.process_exit import wait_for_exit

pytestmark = pytest.mark.xdist_group("run")  # one started system serves most of these tests

WITHIN_S = 60
"""For what takes a few seconds on an idle machine."""
KEY = "local.dev-key"


@dataclass
class Running:
    """A started `make run` (without make)."""

    process: subprocess.Popen[str]
    port: int
    printed: list[str] = field(default_factory=list)

    def read_until(self, pattern: str) -> str:
        """The first line that matches, printed before or now."""
        for line in self.printed:
            if re.search(pattern, line):
                return line
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed.append(line.rstrip("\n"))
            if re.search(pattern, line):
                return self.printed[-1]
        pytest.fail("\n".join(["The run ended early:", *self.printed]))

    def end(self) -> int:
        assert self.process.stdout is not None
        self.printed += self.process.stdout.read().splitlines()
        return self.process.wait(WITHIN_S)

    def pids(self) -> set[int]:
        family = psutil.Process(self.process.pid).children(recursive=True)
        return {self.process.pid, *(child.pid for child in family)}

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            f"http://{HOST}:{self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=WITHIN_S) as answer:
            return json.load(answer)

    def when_over(self, task_id: str) -> Any:
        deadline = monotonic() + WITHIN_S
        while (task := self.ask(f"/tasks/{task_id}"))["status"] in {"PENDING", "RUNNING"}:
            assert monotonic() < deadline, task
            sleep(0.02)
        return task


@contextmanager
def started(environment: Mapping[str, str]) -> Iterator[Running]:
    """Ended for good on leaving, whatever the test did."""
    port = free_port_pair()
    process = subprocess.Popen(
        [sys.executable, "-m", "local.run"],
        env={**os.environ, "PORT": str(port), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield Running(process, port)
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def hostile_environment(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """A user whose own AWS configuration and proxy lead nowhere, so that using them shows."""
    config = tmp_path_factory.mktemp("aws") / "config"
    config.write_text("[profile production]\nendpoint_url = http://127.0.0.1:9\n")
    return {
        "AWS_PROFILE": "production",
        "AWS_CONFIG_FILE": str(config),
        "AWS_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:9",
        "AWS_SESSION_TOKEN": "the user's own",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }


@pytest.fixture(scope="module")
def running(hostile_environment: Mapping[str, str]) -> Iterator[Running]:
    with started(hostile_environment) as run:
        run.read_until("Ctrl-C stops everything")
        yield run


@pytest.mark.parametrize("name", images_in(SAMPLES))
def test_every_sample_comes_back_gray_and_as_large(running: Running, name: str) -> None:
    url = f"http://{HOST}:{running.port + 1}/{name}"
    task = running.when_over(running.ask("/tasks", {"inputImageUrl": url})["taskId"])
    assert task["status"] == "COMPLETED", task
    with (
        urllib.request.urlopen(task["resultUrl"]) as answer,
        Image.open(BytesIO(answer.read())) as result,
        Image.open(SAMPLES / name) as original,
    ):
        assert answer.headers["Content-Type"] == original.get_format_mimetype()
        assert (result.format, result.mode, result.size) == (original.format, "L", original.size)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_printed_lines_work_as_pasted(running: Running) -> None:
    submitted = paste(running.read_until("curl .*inputImageUrl"))
    task_id = json.loads(submitted)["taskId"]
    running.when_over(task_id)
    status = running.read_until("curl .*TASK_ID").replace("TASK_ID", task_id)
    assert json.loads(paste(status))["status"] == "COMPLETED"


def test_the_printed_line_makes_another_key(running: Running) -> None:
    start = running.read_until("AWS_ENDPOINT_URL=")
    lines = running.printed[running.printed.index(start) :][:3]
    created = paste("\n".join(lines).replace(".venv/bin/python", shlex.quote(sys.executable)))
    assert f"http://{HOST}:{running.port}/tasks" in created
    assert re.search(r"^  [0-9a-f]{12}\.\S{43}$", created, re.MULTILINE)


def test_the_samples_are_all_that_is_reachable_of_this_machine(running: Running) -> None:
    forbidden = f"http://{HOST}:{running.port}/healthz"
    task = running.when_over(running.ask("/tasks", {"inputImageUrl": forbidden})["taskId"])
    assert task["failureCode"] == "source_address_blocked"


def test_only_this_machine_is_listened_on(running: Running) -> None:
    addresses = {
        connection.laddr.ip
        for pid in running.pids()
        for connection in psutil.Process(pid).net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {HOST}


def test_ctrl_c_ends_everything(hostile_environment: Mapping[str, str]) -> None:
    with started(hostile_environment) as run:
        run.read_until("Ctrl-C stops everything")
        pids = run.pids()
        assert len(pids) > 3  # itself, gunicorn and its process, the worker
        run.process.send_signal(signal.SIGINT)
        assert run.end() == 0
        assert wait_for_exit(pids)
        assert bind_error(run.port) is None
        assert bind_error(run.port + 1) is None


def test_sigterm_in_the_middle_of_the_start_ends_everything() -> None:
    with started({}) as run:
        run.read_until("^(api|worker)")
        pids = run.pids()
        run.process.terminate()
        assert run.end() == 0
        assert wait_for_exit(pids)


def test_a_worker_that_dies_ends_the_run_with_a_sentence() -> None:
    with started({}) as run:
        run.read_until("worker started")
        (worker,) = [
            child
            for child in psutil.Process(run.process.pid).children()
            if "services.worker" in child.cmdline()
        ]
        pids = run.pids()
        worker.kill()
        assert run.end() == 1
        assert "The worker ended by itself (killed by SIGKILL)." in "\n".join(run.printed)
        assert wait_for_exit(pids)


def test_a_taken_port_starts_nothing() -> None:
    with (
        socket.create_server((HOST, free_port_pair())) as server,
        started({"PORT": str(server.getsockname()[1])}) as run,
    ):
        assert run.end() == 2
        (sentence,) = run.printed
        assert f"Port {server.getsockname()[1]}, for the API" in sentence


def paste(line: str) -> str:
    return subprocess.run(
        ["/bin/sh", "-c", line], check=True, capture_output=True, text=True, timeout=WITHIN_S
    ).stdout
