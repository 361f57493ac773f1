"""The plain values that an object keeps, at any depth: what a process was built with."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from types import FunctionType, MethodType
from typing import Any

PLAIN = (str, bytes, int, float, timedelta, IPv4Network, IPv6Network)


def reachable_values(*roots: object) -> set[object]:
    """Numbers, texts, durations and networks in attributes, containers and closures.

    A duration also counts as its number of seconds.
    """
    found: set[object] = set()
    seen: set[int] = set()
    pending = [*roots]
    while pending:
        value = pending.pop()
        if isinstance(value, PLAIN):
            found.add(value)
            if isinstance(value, timedelta):
                found.add(value.total_seconds())
        elif id(value) not in seen:
            seen.add(id(value))
            pending += _parts(value)
    return found


def _parts(value: object) -> Iterator[Any]:
    match value:
        case Mapping():
            yield from value.values()
        case list() | tuple() | set() | frozenset():
            yield from value
        case FunctionType():
            yield from (cell.cell_contents for cell in value.__closure__ or ())
            yield from value.__kwdefaults__.values() if value.__kwdefaults__ else ()
        case MethodType():
            yield value.__self__
            yield value.__func__
        case partial():
            yield from (value.func, *value.args, *value.keywords.values())
        case _ if type(value).__module__.startswith("services."):
            yield from vars(value).values() if hasattr(value, "__dict__") else ()
            names = (
                name for base in type(value).__mro__ for name in getattr(base, "__slots__", ())
            )
            yield from (getattr(value, name) for name in names if hasattr(value, name))
        case _:
            return
