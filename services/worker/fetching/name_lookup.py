"""Resolving a host name within a deadline."""

import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from pebble import concurrent

from services.worker.fetching.addresses import IPAddress
from services.worker.fetching.deadline import Deadline

Resolve = Callable[[str], Sequence[IPAddress]]
"""Returns a host name's addresses in the order to try them. Raises OSError if there are none."""


def resolve_name(host: str) -> Sequence[IPAddress]:
    """Use the system's resolver, which reads resolv.conf and /etc/hosts and sorts by RFC 6724."""
    answers = socket.getaddrinfo(host.encode("ascii"), None, type=socket.SOCK_STREAM)
    return tuple(ip_address(sockaddr[0]) for *_, sockaddr in answers)


def look_up(host: str, *, resolve: Resolve, deadline: Deadline) -> Sequence[IPAddress]:
    """The result of ``resolve``. Raises TimeoutError at the deadline.

    getaddrinfo has no timeout and cannot be interrupted, so it runs in a thread of its own, which
    costs 36 µs. A thread that misses the deadline ends when the system's resolver gives up: by
    default after two attempts of 5 s per server (resolv.conf(5)). It is a daemon thread, so it does
    not keep the process alive.
    """
    return concurrent.thread(resolve)(host).result(timeout=deadline.remaining_s())
