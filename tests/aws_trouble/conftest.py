"""Real clients whose calls go wrong, over moto in this process."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import structlog

from services.common.aws import Aws, CallLimits
from tests.aws_trouble.world import World
from tests.conftest import Clock, Cloud

TRIES = 2
"""So that a write meets its own effect; each more would cost up to seconds of backoff."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What goes wrong is logged, and printing so many tracebacks takes longer than the rest."""
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
def world(cloud: Cloud, session: boto3.Session, clock: Clock, tmp_path: Path) -> World:
    aws = Aws(region="us-east-1", session=session, limits=CallLimits(max_attempts=TRIES))
    return World(aws=aws, cloud=cloud, clock=clock, scratch=tmp_path)
