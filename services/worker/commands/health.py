"""The ``health`` command: the container's health check."""

from pathlib import Path

from services.common.config import WorkerConfig
from services.worker.health import HealthFile, healthy_within_s


def health(config: WorkerConfig) -> int:
    """Returns the exit code, which is 0 when the poll loop makes progress."""
    age_s = HealthFile(Path(config.health_file)).age_s()
    limit_s = healthy_within_s(config.receive_wait_s)
    if age_s is None or age_s > limit_s:
        print(f"unhealthy: the last poll was {age_s} s ago; the limit is {limit_s} s")
        return 1
    print(f"healthy: the last poll was {age_s:.1f} s ago")
    return 0
