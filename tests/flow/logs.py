"""Searches the logs of all processes of a deployment for secrets."""

from collections.abc import Sequence
from pathlib import Path

from testbed.endpoints import SECRET_ACCESS_KEY
from testbed.fleet import Fleet
from tests.flow.source import TOKEN

PRESIGNED_URL_PARTS = ("X-Amz-Signature", "X-Amz-Credential")


def leaks(fleet: Fleet) -> Sequence[str]:
    """Each line of a log with a key, a presigned URL or the query string of a source's URL."""
    secrets = (fleet.provisioned.key_secret, SECRET_ACCESS_KEY, TOKEN, *PRESIGNED_URL_PARTS)
    return [
        f"{log.name}:{number} contains {text}"
        for log in sorted(fleet.folder.glob("*.log"))
        for number, line in enumerate(_lines(log), start=1)
        for text in secrets
        if text in line
    ]


def _lines(log: Path) -> Sequence[str]:
    return log.read_text(errors="replace").splitlines()
