from collections.abc import Iterator
from typing import NoReturn

import pytest
import structlog
from structlog.typing import EventDict, WrappedLogger


def _drop(_logger: WrappedLogger, _name: str, _event: EventDict) -> NoReturn:
    raise structlog.DropEvent


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """Drop all log lines: the model makes thousands of runs."""
    before = structlog.get_config()
    structlog.configure(processors=[_drop])
    yield
    structlog.configure(**before)
