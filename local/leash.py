"""Programs do not outlive whoever started them, even when that one is killed.

``PR_SET_PDEATHSIG`` would not do: it fires when the thread ends that started the program, and only
Linux has it.
"""

import subprocess

_WATCH = 'read -r _; kill -s KILL -- "-$1"'
"""Nobody writes anything: reading ends when the last holder of the pipe's other end is gone."""


class Leash:
    """From now on the process group `group` is killed when this process ends, until ``slip``."""

    def __init__(self, group: int) -> None:
        self._watcher = subprocess.Popen(  # noqa: S603 - our own script
            ("/bin/sh", "-c", _WATCH, "leash", str(group)),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # or it would end with us
        )

    def slip(self) -> None:
        """For when the group has ended, as its number may be another's then. Harmless twice."""
        self._watcher.kill()
        self._watcher.wait()
        if self._watcher.stdin is not None:
            self._watcher.stdin.close()
