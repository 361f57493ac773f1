"""A system whose calls to AWS fail, against moto in the process of the test."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import structlog

from services.common.aws import Aws
from services.common.call_limits import CallLimits
from tests.aws_faults.faulty_system import FaultySystem
from tests.conftest import Clock, Cloud

TRIES = 2
"""Enough for a retried write to meet its own effect. Each further try costs seconds of backoff."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Capture the logs, because printing the tracebacks would take most of the time."""
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
def system(cloud: Cloud, session: boto3.Session, clock: Clock, tmp_path: Path) -> FaultySystem:
    aws = Aws(region="us-east-1", session=session, limits=CallLimits(max_attempts=TRIES))
    return FaultySystem(aws=aws, cloud=cloud, clock=clock, scratch=tmp_path)
