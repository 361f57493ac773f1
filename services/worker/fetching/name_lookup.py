"""From a host name to its addresses, within a deadline."""

import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from pebble import concurrent

from services.worker.fetching.addresses import IPAddress
from services.worker.fetching.deadline import Deadline

Resolve = Callable[[str], Sequence[IPAddress]]
"""A host name's addresses in the order to try them; OSError when there are none to be had."""


def resolve_name(host: str) -> Sequence[IPAddress]:
    """Ask the system, which knows resolv.conf and the hosts file and sorts by RFC 6724."""
    answers = socket.getaddrinfo(host.encode("ascii"), None, type=socket.SOCK_STREAM)
    return tuple(ip_address(sockaddr[0]) for *_, sockaddr in answers)


def look_up(host: str, *, resolve: Resolve, deadline: Deadline) -> Sequence[IPAddress]:
    """The answer of ``resolve``, or TimeoutError when it comes too late.

    getaddrinfo takes no timeout and cannot be interrupted, so it runs in a thread of its own
    (36 µs). One that is too late is left behind: it ends when the system's resolver gives up,
    by default after two attempts of 5 s with each server (resolv.conf(5)), and being a daemon
    it does not keep the process alive.
    """
    return concurrent.thread(resolve)(host).result(timeout=deadline.remaining_s())
