"""An IP address for every task, as ECS assigns it in ``awsvpc`` network mode.

On Linux all of 127.0.0.0/8 is loopback, so tasks on the host's network can all use the same port.
"""

import random


class AddressPool:
    """Addresses of a random /24 network, so that rehearsals on one machine rarely share one."""

    def __init__(self) -> None:
        first, second = random.randint(16, 250), random.randint(0, 255)  # noqa: S311 - no secret
        self._network = f"127.{first}.{second}"
        self._last_host = 1
        self.load_balancer = f"{self._network}.{self._last_host}"

    def next(self) -> str:
        """An address that no task has had."""
        self._last_host += 1
        return f"{self._network}.{self._last_host}"
