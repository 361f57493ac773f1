"""The CloudWatch dashboard of a deployment."""

from collections.abc import Sequence

from aws_cdk import Duration, Stack
from aws_cdk.aws_cloudwatch import (
    Alarm,
    AlarmStatusWidget,
    GraphWidget,
    IMetric,
    IWidget,
    MathExpression,
    Metric,
    Stats,
    YAxisProps,
)
from aws_cdk.aws_cloudwatch import Dashboard as CloudWatchDashboard
from aws_cdk.aws_dynamodb import Table
from aws_cdk.aws_ecs import FargateService
from aws_cdk.aws_elasticloadbalancingv2 import (
    ApplicationLoadBalancer,
    HttpCodeElb,
    HttpCodeTarget,
)
from aws_cdk.aws_sqs import Queue
from constructs import Construct

from cdk.constructs.metrics import MINUTE, NAMESPACE, running_tasks, service_metric
from cdk.settings import Settings

HALF, THIRD = 12, 8
"""Widths on CloudWatch's grid of 24 columns."""
STAGES = ("fetch", "image", "store")
PERCENTILES = (50, 95, 99)


class Dashboard(Construct):
    """Alarms first, then what clients see, the API, the workers, failures and cost."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        alarms: Sequence[Alarm],
        load_balancer: ApplicationLoadBalancer,
        api: FargateService,
        workers: FargateService,
        backlog_per_worker: IMetric,
        queue: Queue,
        dead_letter_queue: Queue,
        table: Table,
        has_nat_gateways: bool,
    ) -> None:
        super().__init__(scope, construct_id)
        self._settings = settings
        self._load_balancer = load_balancer
        self._api = api
        self._workers = workers
        self._backlog_per_worker = backlog_per_worker
        self._queue = queue
        self._dead_letter_queue = dead_letter_queue
        self._table = table
        self._has_nat_gateways = has_nat_gateways
        CloudWatchDashboard(
            self,
            "Page",
            # Names of dashboards are unique in the account, not in the region.
            dashboard_name=f"taskfleet-{settings.environment}-{Stack.of(self).region}",
            default_interval=Duration.hours(3),
            widgets=[
                [AlarmStatusWidget(title="Alarms", alarms=alarms, width=24, height=3)],
                self._client_widgets(),
                self._api_widgets(),
                self._worker_widgets(),
                self._failure_widgets(),
                self._cost_widgets(),
            ],
        )

    def _client_widgets(self) -> list[IWidget]:
        promise_s = self._settings.start_promise_s
        return [
            _graph(
                "Tasks per minute",
                self._count("TasksSubmitted", "api", "submitted"),
                self._count("TasksCompleted", "worker", "completed"),
                self._failed(),
                width=HALF,
            ),
            _graph(
                f"Wait for the first claim, ms (promised: {promise_s} s)",
                *(
                    self._metric("FirstClaimWait", "worker", Stats.percentile(p), f"p{p}")
                    for p in PERCENTILES
                ),
                width=HALF,
            ),
        ]

    def _api_widgets(self) -> list[IWidget]:
        metrics = self._load_balancer.metrics
        return [
            _graph(
                "API: responses per minute",
                metrics.request_count(period=MINUTE, label="requests"),
                metrics.http_code_target(
                    HttpCodeTarget.TARGET_4XX_COUNT, period=MINUTE, label="4xx"
                ),
                metrics.http_code_target(
                    HttpCodeTarget.TARGET_5XX_COUNT, period=MINUTE, label="5xx"
                ),
                metrics.http_code_elb(
                    HttpCodeElb.ELB_5XX_COUNT, period=MINUTE, label="5xx of the load balancer"
                ),
            ),
            _graph(
                "API: response time, s",
                *(
                    metrics.target_response_time(
                        period=MINUTE, statistic=Stats.percentile(p), label=f"p{p}"
                    )
                    for p in PERCENTILES
                ),
            ),
            _graph(
                f"API: running containers (at most {self._settings.api_max_tasks})",
                running_tasks(self._api).with_(label="running"),
                right=[self._api.metric_cpu_utilization(label="CPU, percent")],
            ),
        ]

    def _worker_widgets(self) -> list[IWidget]:
        queue, settings = self._queue, self._settings
        return [
            _graph(
                "Queue: messages",
                queue.metric_approximate_number_of_messages_visible(period=MINUTE, label="waiting"),
                queue.metric_approximate_number_of_messages_not_visible(
                    period=MINUTE, label="in flight"
                ),
                self._dead_letter_queue.metric_approximate_number_of_messages_visible(
                    period=MINUTE, label="dead letters"
                ),
            ),
            _graph(
                f"Backlog per worker (target {settings.backlog_per_worker:.0f}), running workers",
                self._backlog_per_worker,
                right=[
                    running_tasks(self._workers).with_(
                        label=f"running, at most {settings.worker_max_tasks}"
                    )
                ],
            ),
            _graph(
                "Attempt: duration, ms",
                *(
                    self._metric(
                        "StageDuration", "worker", Stats.percentile(p), f"p{p}", Stage="total"
                    )
                    for p in PERCENTILES
                ),
            ),
        ]

    def _failure_widgets(self) -> list[IWidget]:
        return [
            _graph(
                "Failed attempts per minute, by code",
                self._by_code("AttemptsFailed"),
            ),
            _graph("Tasks failed permanently per minute, by code", self._by_code("TasksFailed")),
            _graph(
                "Stages: p95, ms",
                *(
                    self._metric(
                        "StageDuration", "worker", Stats.percentile(95), stage, Stage=stage
                    )
                    for stage in STAGES
                ),
            ),
        ]

    def _cost_widgets(self) -> list[IWidget]:
        queue, table, settings = self._queue, self._table, self._settings
        widgets: list[IWidget] = [
            _graph(
                "Cost: vCPUs running",
                _vcpus(self._api, "API", settings.api_cpu),
                _vcpus(self._workers, "workers", settings.worker_cpu),
            ),
            _graph(
                "Cost: table units and queue receives per minute",
                table.metric_consumed_write_capacity_units(
                    period=MINUTE, statistic="Sum", label="write units"
                ),
                table.metric_consumed_read_capacity_units(
                    period=MINUTE, statistic="Sum", label="read units"
                ),
                queue.metric_number_of_messages_received(period=MINUTE, label="received"),
                queue.metric_number_of_empty_receives(period=MINUTE, label="empty receives"),
            ),
        ]
        if self._has_nat_gateways:
            widgets.append(
                _graph("Cost: bytes per minute through NAT, by gateway", self._nat_traffic())
            )
        return widgets

    def _nat_traffic(self) -> MathExpression:
        """A search, because an imported ID would keep a NAT gateway from being deleted.

        It finds the gateways of the region's other VPCs too.
        """
        return MathExpression(
            expression="SEARCH('{AWS/NATGateway,NatGatewayId} "
            "MetricName=\"BytesInFromDestination\"', 'Sum', 60)",
            label="",
            period=MINUTE,
        )

    def _metric(self, name: str, service: str, statistic: str, label: str, **extra: str) -> Metric:
        return service_metric(
            name,
            service=service,
            environment=self._settings.environment,
            statistic=statistic,
            **extra,
        ).with_(label=label)

    def _count(self, name: str, service: str, label: str) -> Metric:
        return self._metric(name, service, "Sum", label)

    def _failed(self) -> MathExpression:
        """Tasks that failed permanently. Workers and the reconciler both report them."""
        return MathExpression(
            expression="FILL(worker, 0) + FILL(reconciler, 0)",
            using_metrics={
                service: self._count("TasksFailed", service, service)
                for service in ("worker", "reconciler")
            },
            label="failed",
            period=MINUTE,
        )

    def _by_code(self, name: str) -> MathExpression:
        """One line for each failure code that occurs.

        The search finds the codes, so a new one needs no change here.
        """
        schema = f"{{{NAMESPACE},Service,Environment,FailureCode}}"
        return MathExpression(
            expression=f'SEARCH(\'{schema} MetricName="{name}" '
            f"Environment=\"{self._settings.environment}\"', 'Sum', 60)",
            label="",
            period=MINUTE,
        )


def _vcpus(service: FargateService, label: str, cpu: int) -> MathExpression:
    name = f"running_{label}"  # ids are unique within a graph
    return MathExpression(
        expression=f"{name} * {cpu / 1_024:g}",
        using_metrics={name: running_tasks(service)},
        label=label,
        period=MINUTE,
    )


def _graph(
    title: str, *left: IMetric, right: Sequence[IMetric] = (), width: int = THIRD
) -> GraphWidget:
    return GraphWidget(
        title=title,
        left=list(left),
        right=list(right),
        left_y_axis=YAxisProps(min=0, show_units=False),
        right_y_axis=YAxisProps(min=0, show_units=False),
        width=width,
        height=6,
        period=MINUTE,
    )
