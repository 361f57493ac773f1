"""Describes the machine on which figures are measured."""

import os
import platform
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

PEERS = Path("bench/peers/requirements.txt")
_PINNED = re.compile(r"^([\w-]+)==([^ ]+)", re.MULTILINE)


def description() -> Mapping[str, object]:
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {
            name: version(name) for name in ("boto3", "flask", "gunicorn", "pillow", "urllib3")
        },
        "peers": _peers(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
    }


def _peers() -> Mapping[str, str]:
    locked = dict(_PINNED.findall(PEERS.read_text()))
    return {name: locked[name] for name in ("celery", "dramatiq", "dramatiq-sqs")}


def _cpu() -> str:
    """The CPU model. Linux reports it only in /proc/cpuinfo."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
