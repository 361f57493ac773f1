"""An address of its own for every task, as ECS gives it in the ``awsvpc`` mode.

All of 127.0.0.0/8 is loopback on Linux: tasks can share the host's network and one port.
"""

import random


class AddressPool:
    """Of one network, which most likely no other rehearsal on this machine uses."""

    def __init__(self) -> None:
        first, second = random.randint(16, 250), random.randint(0, 255)  # noqa: S311 - no secret
        self._network = f"127.{first}.{second}"
        self._last = 1
        self.of_load_balancer = f"{self._network}.{self._last}"

    def next(self) -> str:
        """One that no task has had."""
        self._last += 1
        return f"{self._network}.{self._last}"
