"""Which settings can change on a running deployment.

All can, except those in ``RULES``. A deployment records these in an output of its state stack, and
``make deploy`` compares them before it changes anything.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cdk.settings import Settings


@dataclass(frozen=True)
class Rule:
    """`allows` takes the old and the new value. `summary` goes into the settings table."""

    allows: Callable[[Any, Any], bool]
    summary: str
    reason: str


def _never(reason: str) -> Rule:
    return Rule(lambda _old, _new: False, "no", reason)


def _starts_with(new: list[str], old: list[str]) -> bool:
    return bool(old) and new[: len(old)] == old


RULES: Mapping[str, Rule] = {
    "environment": _never("it is part of the name of every stack"),
    "vpc_cidr": _never("the VPC would be replaced while it is in use"),
    "availability_zones": Rule(
        lambda old, new: new > old,
        "can grow",
        "the subnets of a removed zone are still in use",
    ),
    "zone_names": Rule(
        lambda old, new: _starts_with(new, old),
        "can be appended to",
        "subnets cannot move to another zone",
    ),
    "vpc_id": _never("the load balancer and all security groups belong to their VPC"),
    "internal_load_balancer": _never("another load balancer would replace the one in use"),
    "cluster_name": _never("services cannot move to another cluster"),
}
"""The settings that cannot change freely."""


def fixed_settings(settings: Settings) -> Mapping[str, Any]:
    """The values of the settings in ``RULES``, as JSON."""
    values = settings.model_dump(mode="json")
    return {name: values[name] for name in RULES}


def refused_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """One sentence for each change that is not possible. `old` may lack newer settings."""
    for name, rule in RULES.items():
        if name in old and old[name] != new[name] and not rule.allows(old[name], new[name]):
            yield (
                f"{name} cannot change from {_shown(old[name])} to {_shown(new[name])} after "
                f"creation: {rule.reason}."
            )


def _shown(value: Any) -> str:
    match value:
        case list():
            return ",".join(map(str, value)) or "none"
        case None:
            return "none"
    return str(value)
