"""The container's health check, ``python -I -S services/worker/probe.py``: exit code 0 or 1.

It reads the file that the supervisor writes. It imports little, because on a busy vCPU the imports
of the application take longer than a health check may.
"""

import os
import sys
import time

DEFAULT_HEALTH_FILE = "/tmp/taskfleet-worker-health"  # noqa: S108 - as in services/common/config.py


def fault(health_file: str) -> str | None:
    """Why the worker is not healthy, or None."""
    try:
        with open(health_file, encoding="ascii") as file:  # noqa: PTH123 - pathlib is slow to import
            polled_at, max_age_s = map(float, file.read().split())
    except FileNotFoundError:
        return "the worker has not polled yet"
    age_s = time.monotonic() - polled_at
    if age_s > max_age_s:
        return f"the last poll was {age_s:.1f} s ago; the limit is {max_age_s:g} s"
    return None


if __name__ == "__main__":
    found = fault(os.environ.get("HEALTH_FILE", DEFAULT_HEALTH_FILE))
    sys.exit(found and f"unhealthy: {found}")
