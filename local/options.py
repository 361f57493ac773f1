"""The options of `make run`, validated before anything starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local.ports import bind_error
from local.samples_server import CONTENT_TYPES, images_in

DEFAULT_PORT, MAX_PORT = 8_080, 65_535
SAMPLES = Path(__file__).parent / "samples"


class OptionsError(Exception):
    """The message says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """``PORT`` is the port of the API; the samples use the next port. ``SAMPLES`` is a folder."""

    port: int
    samples: Path

    @property
    def samples_port(self) -> int:
        return self.port + 1


def read_options(environment: Mapping[str, str]) -> RunOptions:
    """An empty value means the default. Raises ``OptionsError``."""
    return RunOptions(
        port=_port(environment.get("PORT") or str(DEFAULT_PORT)),
        samples=_samples(Path(environment.get("SAMPLES") or SAMPLES)),
    )


def require_free_ports(options: RunOptions) -> None:
    """Raises ``OptionsError`` if the API or the samples cannot use their port."""
    for port, user in ((options.port, "the API"), (options.samples_port, "the samples")):
        reason = bind_error(port)
        if reason is not None:
            raise OptionsError(
                f"Cannot use port {port} for {user}: {reason}. "
                f"To use another: make run PORT={_suggested_port()}"
            )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) < MAX_PORT):
        raise OptionsError(f"PORT must be a number from 1 to {MAX_PORT - 1}, not {text!r}.")
    return int(text)


def _samples(folder: Path) -> Path:
    folder = folder.expanduser().resolve()
    if not folder.is_dir():
        raise OptionsError(f"SAMPLES must be a folder of images. {folder} is not a folder.")
    if not images_in(folder):
        suffixes = ", ".join(CONTENT_TYPES)
        raise OptionsError(
            f"SAMPLES must be a folder of images. {folder} contains no images ({suffixes})."
        )
    return folder


def _suggested_port() -> int:
    """The first port from the default upward that is free and followed by a free port."""
    return next(
        port
        for port in range(DEFAULT_PORT, MAX_PORT)
        if not (bind_error(port) or bind_error(port + 1))
    )
