"""``make run``: real processes on free ports, used as its users do."""

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

pytestmark = pytest.mark.xdist_group("run")  # most tests share one system

TIMEOUT_S = 60
"""Generous: each step takes a few seconds on an idle machine."""
KEY = "local.dev-key"


@dataclass
class RunProcess:
    """The process that `make run` starts."""

    process: subprocess.Popen[str]
    port: int
    printed: list[str] = field(default_factory=list)

    def read_until(self, pattern: str) -> str:
        """The first output line that matches, old or new."""
        for line in self.printed:
            if re.search(pattern, line):
                return line
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed.append(line.rstrip("\n"))
            if re.search(pattern, line):
                return self.printed[-1]
        pytest.fail("\n".join(["The output ended early:", *self.printed]))

    def wait(self) -> int:
        """Wait for the end and return the exit code."""
        assert self.process.stdout is not None
        self.printed += self.process.stdout.read().splitlines()
        return self.process.wait(TIMEOUT_S)

    def pids(self) -> set[int]:
        family = psutil.Process(self.process.pid).children(recursive=True)
        return {self.process.pid, *(child.pid for child in family)}

    def request(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        http_request = urllib.request.Request(
            f"http://{HOST}:{self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(http_request, timeout=TIMEOUT_S) as response:
            return json.load(response)

    def wait_until_final(self, task_id: str) -> Any:
        deadline = monotonic() + TIMEOUT_S
        while (task := self.request(f"/tasks/{task_id}"))["status"] in {"PENDING", "RUNNING"}:
            assert monotonic() < deadline, task
            sleep(0.02)
        return task


@contextmanager
def started(environment: Mapping[str, str]) -> Iterator[RunProcess]:
    """Start it on a free port, and terminate it at the end of the block."""
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
            yield RunProcess(process, port)
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def hostile_environment(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """An AWS configuration and a proxy of the user that must not be used: their port is closed."""
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
def running(hostile_environment: Mapping[str, str]) -> Iterator[RunProcess]:
    with started(hostile_environment) as run:
        run.read_until("Ctrl-C stops everything")
        yield run


@pytest.mark.parametrize("name", images_in(SAMPLES))
def test_every_sample_becomes_a_grayscale_image_of_the_same_size(
    running: RunProcess, name: str
) -> None:
    url = f"http://{HOST}:{running.port + 1}/{name}"
    task = running.wait_until_final(running.request("/tasks", {"inputImageUrl": url})["taskId"])
    assert task["status"] == "COMPLETED", task
    with (
        urllib.request.urlopen(task["resultUrl"]) as response,
        Image.open(BytesIO(response.read())) as result,
        Image.open(SAMPLES / name) as original,
    ):
        assert response.headers["Content-Type"] == original.get_format_mimetype()
        assert (result.format, result.mode, result.size) == (original.format, "L", original.size)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_printed_commands_work(running: RunProcess) -> None:
    submitted = run_in_shell(running.read_until("curl .*inputImageUrl"))
    task_id = json.loads(submitted)["taskId"]
    running.wait_until_final(task_id)
    status = running.read_until("curl .*TASK_ID").replace("TASK_ID", task_id)
    assert json.loads(run_in_shell(status))["status"] == "COMPLETED"


def test_the_printed_command_creates_a_key(running: RunProcess) -> None:
    start = running.read_until("AWS_ENDPOINT_URL=")
    lines = running.printed[running.printed.index(start) :][:3]
    created = run_in_shell(
        "\n".join(lines).replace(".venv/bin/python", shlex.quote(sys.executable))
    )
    assert f"http://{HOST}:{running.port}/tasks" in created
    assert re.search(r"^  [0-9a-f]{12}\.\S{43}$", created, re.MULTILINE)


def test_the_worker_reaches_no_other_server_on_this_machine(running: RunProcess) -> None:
    forbidden = f"http://{HOST}:{running.port}/healthz"
    task = running.wait_until_final(
        running.request("/tasks", {"inputImageUrl": forbidden})["taskId"]
    )
    assert task["failureCode"] == "source_address_blocked"


def test_all_servers_listen_on_loopback_only(running: RunProcess) -> None:
    addresses = {
        connection.laddr.ip
        for pid in running.pids()
        for connection in psutil.Process(pid).net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {HOST}


def test_ctrl_c_stops_everything(hostile_environment: Mapping[str, str]) -> None:
    with started(hostile_environment) as run:
        run.read_until("Ctrl-C stops everything")
        pids = run.pids()
        assert len(pids) > 3  # the runner, gunicorn, its process and the worker
        run.process.send_signal(signal.SIGINT)
        assert run.wait() == 0
        assert wait_for_exit(pids)
        assert bind_error(run.port) is None
        assert bind_error(run.port + 1) is None


def test_sigterm_during_the_start_stops_everything() -> None:
    with started({}) as run:
        run.read_until("^(api|worker)")
        pids = run.pids()
        run.process.terminate()
        assert run.wait() == 0
        assert wait_for_exit(pids)


def test_a_killed_worker_stops_everything_and_is_reported() -> None:
    with started({}) as run:
        run.read_until("worker started")
        (worker,) = [
            child
            for child in psutil.Process(run.process.pid).children()
            if "services.worker" in child.cmdline()
        ]
        pids = run.pids()
        worker.kill()
        assert run.wait() == 1
        assert "The worker exited unexpectedly (killed by SIGKILL)." in "\n".join(run.printed)
        assert wait_for_exit(pids)


def test_a_port_in_use_starts_nothing() -> None:
    with (
        socket.create_server((HOST, free_port_pair())) as server,
        started({"PORT": str(server.getsockname()[1])}) as run,
    ):
        assert run.wait() == 2
        (message,) = run.printed
        assert f"Cannot use port {server.getsockname()[1]} for the API" in message


def run_in_shell(command: str) -> str:
    return subprocess.run(
        ["/bin/sh", "-c", command], check=True, capture_output=True, text=True, timeout=TIMEOUT_S
    ).stdout
