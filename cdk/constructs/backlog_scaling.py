"""Scales the workers so that every task starts within the promised time."""

from collections.abc import Mapping

from aws_cdk import Duration, TimeZone
from aws_cdk.aws_applicationautoscaling import (
    AdjustmentType,
    CfnScalingPolicy,
    ScalingInterval,
    Schedule,
)
from aws_cdk.aws_cloudwatch import IMetric, MathExpression, Metric
from aws_cdk.aws_ecs import FargateService, ScalableTaskCount
from aws_cdk.aws_sqs import Queue
from constructs import Construct

from cdk.constructs.alarm import evaluation_periods
from cdk.constructs.metrics import MINUTE, running_tasks
from cdk.settings import Settings

BACKLOG_PER_WORKER = "(visible + inflight) / running"
"""Missing where any of its metrics is, so a late metric delays scaling but never misleads it.

Source: "Create a target tracking scaling policy for Application Auto Scaling using metric math",
Application Auto Scaling User Guide; on ``FILL``, "Using math expressions with CloudWatch metrics",
Amazon CloudWatch User Guide.
"""

WAITING_WITHOUT_WORKER = "IF(FILL(running, 0) < 1, visible, 0)"
"""The running count has no data while no worker runs, so only it is filled. Where it is only late,
the newest points are wrong, but too few to trigger the alarm."""

CPU_TARGET_PERCENT = 70
"""Workers that keep up have no backlog. Above nine tenths of this, they are not scaled in."""

FROM_ZERO_DATAPOINTS = 4
"""Minutes with waiting messages that start the first workers. More than a late running count
falsifies, by two if each metric is one to three minutes late, and one gap."""


class BacklogScaling(Construct):
    """Keeps the backlog per running worker at what a worker can start within the promised time.

    Target tracking multiplies the number of running workers, so it can never leave zero. A step
    policy starts the first workers. It counts visible messages only: while no worker runs, messages
    in flight belong to a dead worker and become visible by themselves.

    Workers are removed only if both target tracking policies agree.

    Source: "How target tracking scaling for Application Auto Scaling works", Application Auto
    Scaling User Guide.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        service: FargateService,
        queue: Queue,
    ) -> None:
        super().__init__(scope, construct_id)
        self._settings = settings
        self._service = service
        self._metrics: dict[str, Metric] = {
            "visible": queue.metric_approximate_number_of_messages_visible(
                period=MINUTE, statistic="Average"
            ),
            "inflight": queue.metric_approximate_number_of_messages_not_visible(
                period=MINUTE, statistic="Average"
            ),
            "running": running_tasks(service),
        }
        count = service.auto_scale_task_count(
            min_capacity=settings.worker_min_tasks, max_capacity=settings.worker_max_tasks
        )
        self._track_backlog(count)
        self._track_cpu(count)
        if settings.worker_min_tasks == 0:
            self._start_from_zero(count)
        if settings.worker_busy_min_tasks:
            self._raise_minimum_in_busy_hours(count)

    @property
    def backlog_per_worker(self) -> MathExpression:
        return MathExpression(
            expression=BACKLOG_PER_WORKER,
            using_metrics=self._metrics_in(BACKLOG_PER_WORKER),
            label="Backlog per worker",
            period=MINUTE,
        )

    def _track_backlog(self, count: ScalableTaskCount) -> None:
        """Uses the L1 construct, because the CDK's target tracking accepts no metric math."""
        query = CfnScalingPolicy.TargetTrackingMetricDataQueryProperty
        policy = CfnScalingPolicy(
            self,
            "BacklogPerWorker",
            policy_name="backlog-per-worker",
            policy_type="TargetTrackingScaling",
            service_namespace="ecs",
            scalable_dimension="ecs:service:DesiredCount",
            resource_id=f"service/{self._service.cluster.cluster_name}/{self._service.service_name}",
            target_tracking_scaling_policy_configuration=CfnScalingPolicy.TargetTrackingScalingPolicyConfigurationProperty(
                target_value=self._settings.backlog_per_worker,
                scale_out_cooldown=self._settings.worker_scale_out_cooldown_s,
                scale_in_cooldown=self._settings.worker_scale_in_cooldown_s,
                customized_metric_specification=CfnScalingPolicy.CustomizedMetricSpecificationProperty(
                    metrics=[
                        query(
                            id="backlog",
                            label="Backlog per worker",
                            expression=BACKLOG_PER_WORKER,
                            return_data=True,
                        ),
                        *(
                            query(id=name, metric_stat=_statistic(metric), return_data=False)
                            for name, metric in self._metrics.items()
                        ),
                    ]
                ),
            ),
        )
        policy.node.add_dependency(count)

    def _track_cpu(self, count: ScalableTaskCount) -> None:
        count.scale_on_cpu_utilization(
            "Cpu",
            policy_name="cpu",
            target_utilization_percent=CPU_TARGET_PERCENT,
            scale_out_cooldown=Duration.seconds(self._settings.worker_scale_out_cooldown_s),
            scale_in_cooldown=Duration.seconds(self._settings.worker_scale_in_cooldown_s),
        )

    def _raise_minimum_in_busy_hours(self, count: ScalableTaskCount) -> None:
        settings = self._settings
        days, first, last = settings.busy_hours
        minimums = {
            "Busy": (first, settings.worker_busy_min_tasks),
            "Quiet": (last, settings.worker_min_tasks),
        }
        for name, (hour, minimum) in minimums.items():
            count.scale_on_schedule(
                name,
                schedule=Schedule.expression(f"cron(0 {hour} ? * {days} *)"),
                time_zone=TimeZone.of(settings.worker_busy_time_zone),
                min_capacity=minimum,
            )

    def _start_from_zero(self, count: ScalableTaskCount) -> None:
        count.scale_on_metric(
            "FromZero",
            metric=MathExpression(
                expression=WAITING_WITHOUT_WORKER,
                using_metrics=self._metrics_in(WAITING_WITHOUT_WORKER),
                label="Messages waiting while no worker runs",
                period=MINUTE,
            ),
            adjustment_type=AdjustmentType.CHANGE_IN_CAPACITY,
            scaling_steps=[
                ScalingInterval(upper=0, change=0),
                ScalingInterval(lower=1, change=self._settings.worker_from_zero_tasks),
            ],
            cooldown=Duration.seconds(self._settings.worker_from_zero_cooldown_s),
            datapoints_to_alarm=FROM_ZERO_DATAPOINTS,
            evaluation_periods=evaluation_periods(FROM_ZERO_DATAPOINTS, period_min=1),
        )

    def _metrics_in(self, expression: str) -> Mapping[str, IMetric]:
        return {name: metric for name, metric in self._metrics.items() if name in expression}


def _statistic(metric: Metric) -> CfnScalingPolicy.TargetTrackingMetricStatProperty:
    dimension = CfnScalingPolicy.TargetTrackingMetricDimensionProperty
    return CfnScalingPolicy.TargetTrackingMetricStatProperty(
        stat=metric.statistic,
        metric=CfnScalingPolicy.TargetTrackingMetricProperty(
            namespace=metric.namespace,
            metric_name=metric.metric_name,
            dimensions=[
                dimension(name=name, value=value)
                for name, value in (metric.dimensions or {}).items()
            ],
        ),
    )
