"""The settings of a target group for tests."""

from rehearsal.balancer.settings import HealthCheckSettings, TargetGroupSettings

SETTINGS = TargetGroupSettings(
    arn="group",
    health_check=HealthCheckSettings(
        path="/healthz",
        interval_s=60,
        timeout_s=1,
        healthy_threshold=2,
        unhealthy_threshold=3,
        codes=frozenset({200}),
    ),
    deregistration_delay_s=1,
)
