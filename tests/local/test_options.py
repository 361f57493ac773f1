"""What `make run` refuses before it starts anything."""

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
def taken() -> Iterator[int]:
    """A port that somebody listens on; those beside it are free."""
    with socket.create_server((HOST, free_port_pair() + 1)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("environment", [{}, {"PORT": "", "SAMPLES": ""}])
def test_without_a_choice_it_is_8080_and_the_project_s_photographs(
    environment: dict[str, str],
) -> None:
    options = read_options(environment)
    assert (options.port, options.samples_port, options.samples) == (8080, 8081, SAMPLES)


@pytest.mark.parametrize("port", ["abc", "-1", "0", "65535", "8080.5", "8080 ", "²"])
def test_what_is_no_port_is_refused(port: str) -> None:
    with pytest.raises(OptionsError, match=r"PORT must be a number from 1 to 65534, not"):
        read_options({"PORT": port})


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(OptionsError, match="has none"):
        read_options({"SAMPLES": str(tmp_path)})
    for no_folder in (tmp_path / "gone", tmp_path / "notes.txt"):
        with pytest.raises(OptionsError, match="is no folder"):
            read_options({"SAMPLES": str(no_folder)})


def test_another_folder_is_served(tmp_path: Path) -> None:
    (tmp_path / "a.jpeg").touch()
    assert read_options({"SAMPLES": str(tmp_path)}).samples == tmp_path


def test_a_taken_port_is_named_with_a_way_out(taken: int) -> None:
    for port, user in ((taken, "the API"), (taken - 1, "the samples")):
        with pytest.raises(OptionsError) as refused:
            require_free_ports(RunOptions(port=port, samples=SAMPLES))
        sentence = str(refused.value)
        assert f"Port {taken}, for {user}" in sentence
        proposed = int(sentence.rpartition("make run PORT=")[2])
        require_free_ports(RunOptions(port=proposed, samples=SAMPLES))


def test_a_port_that_lingers_after_its_last_connection_is_free(taken: int) -> None:
    """TIME_WAIT is what an earlier run leaves behind."""
    port = free_port_pair()
    with socket.create_server((HOST, port)) as server:
        client = socket.create_connection((HOST, port))
        server.accept()[0].close()
        client.close()
    require_free_ports(RunOptions(port=port, samples=SAMPLES))
