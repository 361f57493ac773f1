"""The programs of the system, as they are started on one machine.

They are those of the cloud; only their environment differs. What the user's own environment says of
`_LIVELY` wins, so that any setting can be tried: ``LOG_FORMAT=json make run``.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from local.ports import HOST
from local.processes import Program
from services.common.config import WorkerConfig

LOOPBACK = "127.0.0.0/8,::1/128"
"""Both families: every address of a name must be allowed, and `localhost` has one of each."""

_LIVELY = {
    "LOG_FORMAT": "console",
    "API_PROCESSES": "1",
    # A key that taskctl makes or revokes is known at once.
    "API_KEYS_REFRESH_S": "2",
    # Ctrl-C ends everything within seconds: no long poll to wait for, no long farewell.
    "RECEIVE_WAIT_S": "1",
    "API_STOP_TIMEOUT_S": "1",
    "STOP_TIMEOUT_S": "2",
}

HEALTH_CHECK = (sys.executable, "-m", "services.worker", "health")
"""To be run with the worker's own environment."""


def api(environment: Mapping[str, str], *, port: int, scratch: Path) -> Program:
    return Program(
        "api",
        (
            *(sys.executable, "-m", "gunicorn", "--config", "services/api/server/gunicorn.conf.py"),
            # The configured one is Linux's own.
            *("--worker-tmp-dir", str(scratch)),
        ),
        {**_LIVELY, **environment, "API_HOST": HOST, "API_PORT": str(port)},
    )


def worker(environment: Mapping[str, str], *, samples_port: int, health_file: Path) -> Program:
    """Reaches what it would in the cloud, and the samples."""
    ports = (*WorkerConfig.model_fields["fetch_allowed_ports"].default, samples_port)
    return Program(
        "worker",
        (sys.executable, "-m", "services.worker", "run"),
        {
            **_LIVELY,
            **environment,
            "HEALTH_FILE": str(health_file),
            "FETCH_ALLOWED_NETWORKS": LOOPBACK,
            "FETCH_ALLOWED_PORTS": ",".join(map(str, ports)),
        },
    )


def reconciler(environment: Mapping[str, str]) -> Program:
    return Program(
        "reconciler",
        (sys.executable, "-m", "services.worker", "reconcile"),
        {**_LIVELY, **environment},
    )
