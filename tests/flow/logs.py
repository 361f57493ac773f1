"""What no log may show, looked for in the logs of every process that a flow started."""

from collections.abc import Sequence
from pathlib import Path

from testbed.endpoints import SECRET_ACCESS_KEY
from testbed.fleet import Fleet
from tests.flow.source import TOKEN

PRESIGNED = ("X-Amz-Signature", "X-Amz-Credential")


def leaks(fleet: Fleet) -> Sequence[str]:
    """Where a log shows a secret, a presigned URL or the query string of a source."""
    private = (fleet.provisioned.key_secret, SECRET_ACCESS_KEY, TOKEN, *PRESIGNED)
    return [
        f"{log.name}:{number} shows {text}"
        for log in sorted(fleet.folder.glob("*.log"))
        for number, line in enumerate(_lines(log), start=1)
        for text in private
        if text in line
    ]


def _lines(log: Path) -> Sequence[str]:
    return log.read_text(errors="replace").splitlines()
