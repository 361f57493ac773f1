"""Stand-ins for the admission, the fetcher and the imaging pool."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.worker.fetching.fetcher import Writable
from services.worker.imaging import ResultImage
from services.worker.interrupt import Interrupt

SOURCE_BYTES = b"what the source serves"
RESULT_IMAGE = ResultImage(body=b"a gray image", content_type="image/png", width=4, height=3)


class FixedAdmission:
    """Always allows the same number of tasks."""

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def limit(self) -> int:
        return self._limit

    def set_running(self, running: int) -> None:
        assert running <= self._limit


@dataclass
class StubFetcher:
    """Writes ``SOURCE_BYTES``, or raises ``error``."""

    error: Exception | None = None
    urls: list[str] = field(default_factory=list)

    def fetch(self, url: str, *, into: Writable, timeout_s: float) -> int:
        self.urls.append(url)
        if self.error is not None:
            raise self.error
        return into.write(SOURCE_BYTES)


@dataclass
class StubImaging:
    """Calls ``meanwhile``, then returns ``RESULT_IMAGE`` or raises ``error``."""

    error: Exception | None = None
    meanwhile: Callable[[], object] = lambda: None
    sources: list[bytes] = field(default_factory=list)

    def process(
        self,
        source: Path,
        recipe: Mapping[str, Any],
        *,
        timeout_s: float,
        interrupt: Interrupt,
    ) -> ResultImage:
        self.sources.append(source.read_bytes())
        self.meanwhile()
        if self.error is not None:
            raise self.error
        return RESULT_IMAGE
