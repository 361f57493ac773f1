"""The programs of the system and their settings for one machine.

They run the same code as in the cloud with another environment. The user's environment overrides
`_DEFAULTS`, so any setting can be tried: ``LOG_FORMAT=json make run``.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from local.ports import HOST
from local.processes import Program
from services.common.config import WorkerConfig
from services.worker import probe

LOOPBACK = "127.0.0.0/8,::1/128"
"""`localhost` has an IPv4 and an IPv6 address, and all addresses of a name must be allowed."""

_DEFAULTS = {
    "LOG_FORMAT": "console",
    "API_PROCESSES": "1",
    # A machine with many cores does other things too.
    "WORKER_VCPUS": "2",
    # Created and revoked keys take effect within seconds.
    "API_KEYS_REFRESH_S": "2",
    # Ctrl-C stops everything within seconds: short polls and short stop timeouts.
    "RECEIVE_WAIT_S": "1",
    "API_STOP_TIMEOUT_S": "1",
    "STOP_TIMEOUT_S": "2",
}

HEALTH_CHECK = (sys.executable, "-I", "-S", str(Path(probe.__file__)))
"""Run it with the environment of the worker."""


def api(environment: Mapping[str, str], *, port: int, scratch: Path) -> Program:
    return Program(
        "api",
        (
            *(sys.executable, "-m", "gunicorn", "--config", "services/api/server/gunicorn.conf.py"),
            # The configured folder, /dev/shm, exists only on Linux.
            *("--worker-tmp-dir", str(scratch)),
        ),
        {**_DEFAULTS, **environment, "API_HOST": HOST, "API_PORT": str(port)},
    )


def worker(environment: Mapping[str, str], *, samples_port: int, health_file: Path) -> Program:
    """The worker may fetch from the samples server besides public addresses."""
    ports = (*WorkerConfig.model_fields["fetch_allowed_ports"].default, samples_port)
    return Program(
        "worker",
        (sys.executable, "-m", "services.worker", "run"),
        {
            **_DEFAULTS,
            **environment,
            "HEALTH_FILE": str(health_file),
            "PACED_HOSTS_FOLDER": str(health_file.with_suffix(".paced-hosts")),
            "FETCH_ALLOWED_NETWORKS": LOOPBACK,
            "FETCH_ALLOWED_PORTS": ",".join(map(str, ports)),
        },
    )


def reconciler(environment: Mapping[str, str]) -> Program:
    return Program(
        "reconciler",
        (sys.executable, "-m", "services.worker", "reconcile"),
        {**_DEFAULTS, **environment},
    )
