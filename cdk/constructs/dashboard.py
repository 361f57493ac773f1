"""The page that tells an operator at 3 a.m. what is wrong, from the top down."""

from collections.abc import Sequence

from aws_cdk import Duration
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
from aws_cdk.aws_ecs import FargateService
from aws_cdk.aws_elasticloadbalancingv2 import HttpCodeElb, HttpCodeTarget
from constructs import Construct

from cdk.constructs.metrics import MINUTE, NAMESPACE, running_tasks, service_metric
from cdk.settings import Settings
from cdk.stacks.api import ApiStack
from cdk.stacks.network import NetworkStack
from cdk.stacks.state import StateStack
from cdk.stacks.worker import WorkerStack

HALF, THIRD = 12, 8
"""Widths on CloudWatch's grid of 24 columns."""
STAGES = ("fetch", "image", "store")
PERCENTILES = (50, 95, 99)


class Dashboard(Construct):
    """Alarms; then what clients see; then what the workers do; then why; then what it costs."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        network: NetworkStack,
        state: StateStack,
        api: ApiStack,
        worker: WorkerStack,
        alarms: Sequence[Alarm],
    ) -> None:
        super().__init__(scope, construct_id)
        self._settings = settings
        self._network = network
        self._state = state
        self._api = api
        self._worker = worker
        CloudWatchDashboard(
            self,
            "Page",
            dashboard_name=f"taskfleet-{settings.environment}",
            default_interval=Duration.hours(3),
            widgets=[
                [AlarmStatusWidget(title="Alarms", alarms=alarms, width=24, height=3)],
                self._what_clients_see(),
                self._what_the_api_does(),
                self._what_the_workers_do(),
                self._why_tasks_fail(),
                self._what_it_costs(),
            ],
        )

    def _what_clients_see(self) -> list[IWidget]:
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
                    self._own("FirstClaimWait", "worker", Stats.percentile(p), f"p{p}")
                    for p in PERCENTILES
                ),
                width=HALF,
            ),
        ]

    def _what_the_api_does(self) -> list[IWidget]:
        balancer = self._api.load_balancer.metrics
        return [
            _graph(
                "API: answers per minute",
                balancer.request_count(period=MINUTE, label="requests"),
                balancer.http_code_target(
                    HttpCodeTarget.TARGET_4XX_COUNT, period=MINUTE, label="4xx"
                ),
                balancer.http_code_target(
                    HttpCodeTarget.TARGET_5XX_COUNT, period=MINUTE, label="5xx"
                ),
                balancer.http_code_elb(
                    HttpCodeElb.ELB_5XX_COUNT, period=MINUTE, label="5xx of the load balancer"
                ),
            ),
            _graph(
                "API: response time, s",
                *(
                    balancer.target_response_time(
                        period=MINUTE, statistic=Stats.percentile(p), label=f"p{p}"
                    )
                    for p in PERCENTILES
                ),
            ),
            _graph(
                f"API: running containers (at most {self._settings.api_max_tasks})",
                running_tasks(self._api.service).with_(label="running"),
                right=[self._api.service.metric_cpu_utilization(label="CPU, percent")],
            ),
        ]

    def _what_the_workers_do(self) -> list[IWidget]:
        queue, settings = self._state.queue, self._settings
        return [
            _graph(
                "Queue: messages",
                queue.metric_approximate_number_of_messages_visible(period=MINUTE, label="waiting"),
                queue.metric_approximate_number_of_messages_not_visible(
                    period=MINUTE, label="in flight"
                ),
                self._state.dead_letter_queue.metric_approximate_number_of_messages_visible(
                    period=MINUTE, label="dead letters"
                ),
            ),
            _graph(
                f"Backlog per worker (target {settings.backlog_per_worker:.0f}), running workers",
                self._worker.scaling.backlog_per_worker,
                right=[
                    running_tasks(self._worker.service).with_(
                        label=f"running, at most {settings.worker_max_tasks}"
                    )
                ],
            ),
            _graph(
                "Attempt: duration, ms",
                *(
                    self._own(
                        "StageDuration", "worker", Stats.percentile(p), f"p{p}", Stage="total"
                    )
                    for p in PERCENTILES
                ),
            ),
        ]

    def _why_tasks_fail(self) -> list[IWidget]:
        return [
            _graph(
                "Failed attempts per minute, by code",
                self._by_code("AttemptsFailed"),
            ),
            _graph("Tasks failed for good per minute, by code", self._by_code("TasksFailed")),
            _graph(
                "Stages: p95, ms",
                *(
                    self._own("StageDuration", "worker", Stats.percentile(95), stage, Stage=stage)
                    for stage in STAGES
                ),
            ),
        ]

    def _what_it_costs(self) -> list[IWidget]:
        queue, table, settings = self._state.queue, self._state.table, self._settings
        widgets: list[IWidget] = [
            _graph(
                "Cost: vCPUs running",
                _vcpus(self._api.service, "API", settings.api_cpu),
                _vcpus(self._worker.service, "workers", settings.worker_cpu),
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
        if self._network.nat_gateway_ids:
            widgets.append(
                _graph(
                    "Cost: bytes per minute through NAT",
                    *(
                        Metric(
                            namespace="AWS/NATGateway",
                            metric_name="BytesInFromDestination",
                            dimensions_map={"NatGatewayId": gateway},
                            statistic="Sum",
                            period=MINUTE,
                        )
                        for gateway in self._network.nat_gateway_ids
                    ),
                )
            )
        return widgets

    def _own(self, name: str, service: str, statistic: str, label: str, **extra: str) -> Metric:
        return service_metric(
            name,
            service=service,
            environment=self._settings.environment,
            statistic=statistic,
            **extra,
        ).with_(label=label)

    def _count(self, name: str, service: str, label: str) -> Metric:
        return self._own(name, service, "Sum", label)

    def _failed(self) -> MathExpression:
        """For good: a worker or the reconciler may say so."""
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
        """One line for each code that occurs; which ones do is not known beforehand."""
        schema = f"{{{NAMESPACE},Service,Environment,FailureCode}}"
        return MathExpression(
            expression=f'SEARCH(\'{schema} MetricName="{name}" '
            f"Environment=\"{self._settings.environment}\"', 'Sum', 60)",
            label="",
            period=MINUTE,
        )


def _vcpus(service: FargateService, label: str, cpu: int) -> MathExpression:
    name = f"running_{label}"  # unlike any other on the same graph
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
