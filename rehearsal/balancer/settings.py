"""The settings of the load balancer and its target groups, read from the ELB API."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rehearsal.failure import RehearsalFailed

if TYPE_CHECKING:
    from types_boto3_elbv2 import ElasticLoadBalancingv2Client


@dataclass(frozen=True, slots=True)
class HealthCheckSettings:
    """`codes` are the HTTP statuses of a healthy target."""

    path: str
    interval_s: int
    timeout_s: int
    healthy_threshold: int
    unhealthy_threshold: int
    codes: frozenset[int]


@dataclass(frozen=True, slots=True)
class TargetGroupSettings:
    arn: str
    health_check: HealthCheckSettings
    deregistration_delay_s: int


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """Forwards to a target group or redirects to `redirect_to`, a URL with ``#{…}`` keywords."""

    port: int
    protocol: str
    certificate_arn: str | None
    target_group_arn: str | None
    redirect_to: str | None


@dataclass(frozen=True, slots=True)
class LoadBalancerSettings:
    dns_name: str
    idle_timeout_s: int
    listeners: Sequence[ListenerSettings]


def read_target_groups(elbv2: "ElasticLoadBalancingv2Client") -> Sequence[TargetGroupSettings]:
    return [
        TargetGroupSettings(
            arn=group["TargetGroupArn"],
            health_check=HealthCheckSettings(
                path=group["HealthCheckPath"],
                interval_s=group["HealthCheckIntervalSeconds"],
                timeout_s=group["HealthCheckTimeoutSeconds"],
                healthy_threshold=group["HealthyThresholdCount"],
                unhealthy_threshold=group["UnhealthyThresholdCount"],
                codes=_codes(group["Matcher"]["HttpCode"]),
            ),
            deregistration_delay_s=int(
                _attributes(
                    elbv2.describe_target_group_attributes(TargetGroupArn=group["TargetGroupArn"])
                )["deregistration_delay.timeout_seconds"]
            ),
        )
        for group in elbv2.describe_target_groups()["TargetGroups"]
    ]


def read_load_balancer(elbv2: "ElasticLoadBalancingv2Client") -> LoadBalancerSettings:
    """Read the only load balancer. Raises ``RehearsalFailed`` if there is not exactly one."""
    balancers = elbv2.describe_load_balancers()["LoadBalancers"]
    if len(balancers) != 1:
        raise RehearsalFailed(
            f"The rehearsal supports one load balancer, and {len(balancers)} are deployed."
        )
    arn, dns_name = balancers[0]["LoadBalancerArn"], balancers[0]["DNSName"]

    attributes = _attributes(elbv2.describe_load_balancer_attributes(LoadBalancerArn=arn))
    return LoadBalancerSettings(
        dns_name=dns_name,
        idle_timeout_s=int(attributes["idle_timeout.timeout_seconds"]),
        listeners=[
            _listener(listener)
            for listener in elbv2.describe_listeners(LoadBalancerArn=arn)["Listeners"]
        ],
    )


def _listener(described: Any) -> ListenerSettings:
    (action,) = described["DefaultActions"]
    certificates = described.get("Certificates") or [{}]
    redirect = action.get("RedirectConfig")
    if action["Type"] not in {"forward", "redirect"}:
        raise RehearsalFailed(f"The listener action {action['Type']} is not supported.")
    return ListenerSettings(
        port=described["Port"],
        protocol=described["Protocol"],
        certificate_arn=certificates[0].get("CertificateArn"),
        target_group_arn=action.get("TargetGroupArn"),
        redirect_to=_redirect_to(redirect) if redirect else None,
    )


def _redirect_to(redirect: Mapping[str, str]) -> str:
    """The URL of a redirect action, with the defaults of ``RedirectActionConfig``."""
    protocol = redirect.get("Protocol", "#{protocol}").lower()
    host, port = redirect.get("Host", "#{host}"), redirect.get("Port", "#{port}")
    path, query = redirect.get("Path", "/#{path}"), redirect.get("Query", "#{query}")
    return f"{protocol}://{host}:{port}{path}?{query}"


def _attributes(described: Any) -> Mapping[str, str]:
    return {attribute["Key"]: attribute["Value"] for attribute in described["Attributes"]}


def _codes(matcher: str) -> frozenset[int]:
    """Parse a matcher such as ``200``, ``200,202`` or ``200-299``."""

    codes: set[int] = set()
    for part in matcher.split(","):
        first, _, last = part.partition("-")
        codes.update(range(int(first), int(last or first) + 1))
    return frozenset(codes)
