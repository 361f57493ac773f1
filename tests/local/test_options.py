"""Options that `make run` rejects before it starts anything."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.options import (
    SAMPLES,
    OptionsError,
    RunOptions,
    read_options,
    require_free_ports,
)
from local.ports import HOST, free_port_pair


@pytest.fixture
def used_port() -> Iterator[int]:
    """A port in use, between two free ports."""
    with socket.create_server((HOST, free_port_pair() + 1)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("environment", [{}, {"PORT": "", "SAMPLES": ""}])
def test_the_defaults_are_port_8080_and_the_sample_photographs(
    environment: dict[str, str],
) -> None:
    options = read_options(environment)
    assert (options.port, options.samples_port, options.samples) == (8080, 8081, SAMPLES)


@pytest.mark.parametrize("port", ["abc", "-1", "0", "65535", "8080.5", "8080 ", "²"])
def test_an_invalid_port_is_rejected(port: str) -> None:
    with pytest.raises(OptionsError, match=r"PORT must be a number from 1 to 65534, not"):
        read_options({"PORT": port})


def test_a_folder_without_images_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(OptionsError, match="contains no images"):
        read_options({"SAMPLES": str(tmp_path)})
    for path in (tmp_path / "missing", tmp_path / "notes.txt"):
        with pytest.raises(OptionsError, match="is not a folder"):
            read_options({"SAMPLES": str(path)})


def test_samples_names_another_folder(tmp_path: Path) -> None:
    (tmp_path / "a.jpeg").touch()
    assert read_options({"SAMPLES": str(tmp_path)}).samples == tmp_path


def test_a_port_in_use_is_reported_with_a_free_port(used_port: int) -> None:
    for port, user in ((used_port, "the API"), (used_port - 1, "the samples")):
        with pytest.raises(OptionsError) as raised:
            require_free_ports(RunOptions(port=port, samples=SAMPLES))
        message = str(raised.value)
        assert f"Cannot use port {used_port} for {user}" in message
        suggested = int(message.rpartition("make run PORT=")[2])
        require_free_ports(RunOptions(port=suggested, samples=SAMPLES))


def test_a_port_with_a_connection_in_time_wait_is_free() -> None:
    """An earlier run leaves such connections."""
    port = free_port_pair()
    with socket.create_server((HOST, port)) as server:
        client = socket.create_connection((HOST, port))
        server.accept()[0].close()
        client.close()
    require_free_ports(RunOptions(port=port, samples=SAMPLES))
