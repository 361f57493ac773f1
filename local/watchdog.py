"""Kills a program's process group when the process that started it dies, even by SIGKILL.

``PR_SET_PDEATHSIG`` exists only on Linux, and it fires as soon as the thread that started the
program ends.
"""

import subprocess

_SCRIPT = 'read -r _; kill -s KILL -- "-$1"'
"""Nothing writes to the pipe, so ``read`` returns when its last writer has exited."""


class Watchdog:
    """Kills the process group `group` if this process exits before ``stop`` is called."""

    def __init__(self, group: int) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own script
            ("/bin/sh", "-c", _SCRIPT, "watchdog", str(group)),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # must survive signals to our own process group
        )

    def stop(self) -> None:
        """Call this once the group has ended, because its ID may be reused. Idempotent."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
