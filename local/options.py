"""What a user may choose about `make run`, checked before anything is started."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local.ports import bind_error
from local.samples_server import CONTENT_TYPES, images_in

DEFAULT_PORT, LAST_PORT = 8_080, 65_535
SAMPLES = Path(__file__).parent / "samples"


class OptionsError(Exception):
    """A sentence that says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """``PORT``: the API's; the samples take the next one. ``SAMPLES``: a folder of images."""

    port: int
    samples: Path

    @property
    def samples_port(self) -> int:
        return self.port + 1


def read_options(environment: Mapping[str, str]) -> RunOptions:
    """Raises ``OptionsError``; an empty value counts as none."""
    return RunOptions(
        port=_port(environment.get("PORT") or str(DEFAULT_PORT)),
        samples=_samples(Path(environment.get("SAMPLES") or SAMPLES)),
    )


def require_free_ports(options: RunOptions) -> None:
    """Raises ``OptionsError``."""
    for port, user in ((options.port, "the API"), (options.samples_port, "the samples")):
        reason = bind_error(port)
        if reason is not None:
            raise OptionsError(
                f"Port {port}, for {user}, cannot be used: {reason}. "
                f"Choose another, for instance: make run PORT={_free_port()}"
            )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) < LAST_PORT):
        raise OptionsError(f"PORT must be a number from 1 to {LAST_PORT - 1}, not {text!r}.")
    return int(text)


def _samples(folder: Path) -> Path:
    folder = folder.expanduser().resolve()
    if not folder.is_dir():
        raise OptionsError(f"SAMPLES must be a folder of images, and {folder} is no folder.")
    if not images_in(folder):
        kinds = ", ".join(CONTENT_TYPES)
        raise OptionsError(f"SAMPLES must be a folder of images, and {folder} has none ({kinds}).")
    return folder


def _free_port() -> int:
    """One whose next one is free as well."""
    return next(
        port
        for port in range(DEFAULT_PORT, LAST_PORT)
        if not (bind_error(port) or bind_error(port + 1))
    )
