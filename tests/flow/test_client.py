"""The Python client against a real API and worker: lost responses, restarts, ``kill -9``."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local.ports import HOST
from taskfleet import Client, Submission, TaskFailed
from testbed.waiting import wait_until
from tests.flow.source import FlowSource, HeldResponder, png
from tests.flow.system import DeployedSystem
from tests.worker.fetching.loopback_source import Responder, ok, response_head, serving

PAGE = Path(__file__).parents[2] / "docs/python.md"


def api_url(system: DeployedSystem) -> str:
    return f"http://{HOST}:{system.fleet.api_port}"


def client_of(system: DeployedSystem, url: str | None = None) -> Client:
    return Client(url or api_url(system), key=system.fleet.provisioned.api_key)


@pytest.fixture
def client(system: DeployedSystem) -> Iterator[Client]:
    with client_of(system) as client:
        yield client


def test_an_image_is_processed_and_downloaded(
    client: Client, source: FlowSource, tmp_path: Path
) -> None:
    resize = [{"name": "resize", "width": 4}]
    submission = Submission(
        input_image_url=source.url(ok(png())), operations=resize, output={"format": "webp"}
    )
    task = client.process(submission, timeout_s=60)
    assert task.result is not None
    assert (task.result.content_type, task.result.width) == ("image/webp", 4)
    client.download(task, tmp_path / "small.webp")
    assert (tmp_path / "small.webp").stat().st_size == task.result.size_bytes


def test_a_failed_task_raises_its_code(client: Client, source: FlowSource) -> None:
    missing = Submission(input_image_url=source.url(response_head(404, "Content-Length: 0")))
    with pytest.raises(TaskFailed, match="no such image") as failure:
        client.process(missing, timeout_s=60)
    assert failure.value.code == "source_not_found"


def relay(api_port: int, *, loses_response: bool) -> Responder:
    """Forward one request to the API, and its response unless it gets lost."""

    def respond(connection: socket.socket) -> None:
        with socket.create_connection((HOST, api_port)) as api:
            api.sendall(read_message(connection))
            response = read_message(api)
        assert response.startswith(b"HTTP/1.1 201 ")
        if not loses_response:
            connection.sendall(response)

    return respond


def read_message(connection: socket.socket) -> bytes:
    """A request or a response with a Content-Length."""
    message = b""
    while b"\r\n\r\n" not in message:
        message += connection.recv(65_536)
    head, _, body = message.partition(b"\r\n\r\n")
    [length] = re.findall(rb"(?i)\r\ncontent-length: (\d+)", head)
    while len(body) < int(length):
        received = connection.recv(65_536)
        message += received
        body += received
    return message


def test_a_submission_whose_response_is_lost_creates_one_task(
    system: DeployedSystem, source: FlowSource
) -> None:
    rows = system.row_count()
    port = system.fleet.api_port
    losing, answering = relay(port, loses_response=True), relay(port, loses_response=False)
    with (
        serving(losing, answering, reads_head=False) as proxy,
        client_of(system, proxy.url("")) as client,
    ):
        task = client.submit(Submission(input_image_url=source.url(ok(png()))))
    assert proxy.connections == 2
    assert system.row_count() == rows + 1
    assert system.wait_until_final(task.task_id)["status"] == "COMPLETED"


def documented_program() -> str:
    [program] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return str(program)


def test_the_documented_program_continues_after_it_was_killed(
    system: DeployedSystem, source: FlowSource, tmp_path: Path
) -> None:
    rows = system.row_count()
    held = HeldResponder(ok(png()))
    images = [source.url(held), *(source.url(ok(png())) for _ in range(5))]
    command = (
        *(sys.executable, "-c", documented_program()),
        *(api_url(system), system.fleet.provisioned.api_key, str(tmp_path), *images),
    )
    with subprocess.Popen(command) as program:
        held.wait_until_requested()
        wait_until(lambda: list(tmp_path.glob("[!.]*")), "the program stored a result")
        program.kill()
    held.release()
    finished = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    assert finished.stdout == b""
    assert len(list(tmp_path.glob("[!.]*"))) == 6
    assert system.row_count() == rows + 6


def test_a_wait_survives_a_restart_of_the_api(api_only: DeployedSystem, source: FlowSource) -> None:
    with client_of(api_only) as client, ThreadPoolExecutor(1) as pool:
        task = client.submit(Submission(input_image_url=source.url(ok(png()))))
        waiting = pool.submit(client.wait, task, timeout_s=120)
        api_only.fleet.start_api()
        api_only.fleet.wait_until_ready()
        api_only.fleet.start_worker()
        assert waiting.result(timeout=120).completed
    api_only.wait_until_queue_is_empty()
