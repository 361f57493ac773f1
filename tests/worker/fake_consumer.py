"""A consumer process that does what its first argument says. The supervisor's tests start it.

It reports its life as files in the folder of its second argument: ``<process id>.started`` and
``<process id>.drained``.
"""

import os
import signal
import sys
import time
from pathlib import Path

POLL, END_AT_ONCE, FAIL_TO_DRAIN, DRAIN_WHEN_ALLOWED = (
    "poll",
    "end-at-once",
    "fail-to-drain",
    "drain-when-allowed",
)
ALLOWED = "drain"
"""With ``DRAIN_WHEN_ALLOWED``, the process drains once a file of this name is in the folder."""


def main(behavior: str, folder: Path, descriptor: int, scratch: Path) -> int:
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda received, _: stopped.append(received))
    scratch.joinpath("download").touch()
    folder.joinpath(f"{os.getpid()}.started").touch()
    if behavior == END_AT_ONCE:
        return 3
    while not stopped:
        os.write(descriptor, b".")
        time.sleep(0.02)
    while behavior == DRAIN_WHEN_ALLOWED and not folder.joinpath(ALLOWED).exists():
        time.sleep(0.02)
    folder.joinpath(f"{os.getpid()}.drained").touch()
    return 4 if behavior == FAIL_TO_DRAIN else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
