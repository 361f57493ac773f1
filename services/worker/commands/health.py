"""The ``health`` command: the container's health check."""

from pathlib import Path

from services.common.config import WorkerConfig
from services.worker.health import HealthFile, max_healthy_age_s


def health(config: WorkerConfig) -> int:
    """Return the exit code: 0 if the poll loop makes progress, otherwise 1."""
    age_s = HealthFile(Path(config.health_file)).age_s()
    limit_s = max_healthy_age_s(config.receive_wait_s)
    if age_s is None:
        print("unhealthy: the worker has not polled yet")
        return 1
    if age_s > limit_s:
        print(f"unhealthy: the last poll was {age_s:.1f} s ago; the limit is {limit_s} s")
        return 1
    print(f"healthy: the last poll was {age_s:.1f} s ago")
    return 0
