"""An address of its own for every task, as ECS gives it in the ``awsvpc`` mode.

All of 127.0.0.0/8 is loopback on Linux: tasks can share the host's network and one port.
"""

import random
from collections.abc import Iterator


def loopback_addresses() -> Iterator[str]:
    """From a network that most likely no other rehearsal on this machine uses."""
    network = f"127.{random.randint(16, 250)}.{random.randint(0, 255)}"  # noqa: S311 - no secret
    for host in range(1, 255):
        yield f"{network}.{host}"
