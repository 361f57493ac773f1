"""What wakes an operator, and the page to look at then."""

from typing import Any

from aws_cdk import Duration, Stack
from aws_cdk.aws_cloudwatch import (
    Alarm,
    ComparisonOperator,
    IMetric,
    MathExpression,
    Stats,
    TreatMissingData,
)
from aws_cdk.aws_cloudwatch_actions import SnsAction
from aws_cdk.aws_elasticloadbalancingv2 import HttpCodeElb, HttpCodeTarget
from aws_cdk.aws_iam import PolicyStatement, ServicePrincipal
from aws_cdk.aws_sns import Topic
from aws_cdk.aws_sns_subscriptions import EmailSubscription
from constructs import Construct

from cdk.constructs.dashboard import Dashboard
from cdk.constructs.metrics import MINUTE, running_tasks, service_metric
from cdk.settings import Settings
from cdk.stacks.api import ApiStack
from cdk.stacks.network import NetworkStack
from cdk.stacks.state import StateStack
from cdk.stacks.worker import WorkerStack

FIVE_MINUTES = Duration.minutes(5)

ERROR_RATE_PERCENT = (
    "100 * (FILL(ours, 0) + FILL(balancers, 0)) "
    "/ MAX([FILL(requests, 1), FILL(ours, 0) + FILL(balancers, 0)])"
)
"""Defined without a single healthy container too, when the load balancer answers everything itself.

RequestCount leaves out what no target was chosen for, so there are at least as many requests as
errors. MAX takes series only, hence 1 by FILL.

Source: "CloudWatch metrics for your Application Load Balancer", Elastic Load Balancing User Guide.
"""


class ObservabilityStack(Stack):
    """Offers `topic` and `alarms`; each alarm's description says what to do."""

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
        **stack: Any,
    ) -> None:
        super().__init__(scope, construct_id, **stack)
        self._settings = settings
        self._state = state
        self._api = api
        self._worker = worker
        self.topic = Topic(self, "Alarms", enforce_ssl=True)
        self.topic.add_to_resource_policy(
            PolicyStatement(
                principals=[ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )
        if settings.alarm_email:
            self.topic.add_subscription(EmailSubscription(settings.alarm_email))
        self.alarms: list[Alarm] = []

        self._watch_the_queue()
        self._watch_the_api()
        self._watch_the_workers()
        self._watch_the_reconciler()
        Dashboard(
            self,
            "Dashboard",
            settings=settings,
            alarms=self.alarms,
            load_balancer=api.load_balancer,
            api=api.service,
            workers=worker.service,
            backlog_per_worker=worker.scaling.backlog_per_worker,
            queue=state.queue,
            dead_letter_queue=state.dead_letter_queue,
            table=state.table,
            nat_gateway_ids=network.nat_gateway_ids,
        )

    def _watch_the_queue(self) -> None:
        promise_s = self._settings.start_promise_s
        self._alarm(
            "DeadLetters",
            metric=self._state.dead_letter_queue.metric_approximate_number_of_messages_visible(
                period=MINUTE, statistic="Maximum"
            ),
            threshold=1,
            description="Tasks failed for a reason of ours, or nobody could read their messages. "
            "`taskctl dlq list` says which and why, `taskctl dlq show ID` what to do. Mend the "
            "cause, then `taskctl dlq redrive --code CODE`. SQS's own redrive would not reopen the "
            "tasks.",
        )
        self._alarm(
            "FirstClaimLate",
            metric=service_metric(
                "FirstClaimWait",
                service="worker",
                environment=self._settings.environment,
                statistic=Stats.percentile(95),
            ).with_(period=FIVE_MINUTES),
            threshold=promise_s * 1_000,
            # One: at low traffic the next claim may be hours away.
            periods=1,
            description=f"Tasks wait longer than the promised {promise_s} s for their first claim. "
            "If all workers run and the backlog per worker is above its target, raise "
            "worker_max_tasks; if workers are missing, look at the service's events for Spot or "
            "start failures.",
        )
        queue = self._state.queue
        self._alarm(
            "QueueStalled",
            metric=MathExpression(
                expression="IF(FILL(visible, 0) > 0 AND FILL(deleted, 0) == 0, 1, 0)",
                using_metrics={
                    "visible": queue.metric_approximate_number_of_messages_visible(
                        period=MINUTE, statistic="Minimum"
                    ),
                    "deleted": queue.metric_number_of_messages_deleted(period=MINUTE),
                },
                label="Messages wait and none is finished",
                period=MINUTE,
            ),
            threshold=1,
            periods=15,
            description="Messages wait and no worker finishes one. Look at the worker service's "
            "events (it may fail to start) and the workers' log (it may fail every attempt).",
        )

    def _watch_the_api(self) -> None:
        settings, balancer = self._settings, self._api.load_balancer.metrics
        self._alarm(
            "ApiErrors",
            metric=MathExpression(
                expression=ERROR_RATE_PERCENT,
                using_metrics={
                    "ours": balancer.http_code_target(
                        HttpCodeTarget.TARGET_5XX_COUNT, period=FIVE_MINUTES
                    ),
                    "balancers": balancer.http_code_elb(
                        HttpCodeElb.ELB_5XX_COUNT, period=FIVE_MINUTES
                    ),
                    "requests": balancer.request_count(period=FIVE_MINUTES),
                },
                label="5xx answers, percent",
                period=FIVE_MINUTES,
            ),
            threshold=settings.api_error_rate_alarm_percent,
            periods=2,
            description="The API answers with 5xx. /readyz names the dependency that fails; the "
            "API's log has a traceback by request id. After a deploy, roll back first.",
        )
        self._alarm(
            "ApiDown",
            # Of the zones, of which each counts its own, the one with most.
            metric=self._api.target_group.metrics.healthy_host_count(
                period=MINUTE, statistic="Maximum"
            ),
            threshold=1,
            periods=2,
            comparison=ComparisonOperator.LESS_THAN_THRESHOLD,
            missing=TreatMissingData.BREACHING,
            description="No API container is healthy, so every request is answered with 503. Look "
            "at the API service's events and stopped tasks for why containers do not start, and at "
            "the API's log for why /healthz fails. After a deploy, roll back first.",
        )
        self._alarm(
            "ApiLatency",
            metric=balancer.target_response_time(
                period=FIVE_MINUTES, statistic=Stats.percentile(99)
            ),
            threshold=settings.api_p99_latency_alarm_s,
            periods=3,
            description="One request in a hundred is slower than "
            f"{settings.api_p99_latency_alarm_s:g} s. Compare running API containers with their "
            "CPU on the dashboard; if they are at api_max_tasks raise it, otherwise look at the "
            "table's and the queue's latency.",
        )

    def _watch_the_workers(self) -> None:
        most = self._settings.worker_max_tasks
        self._alarm(
            "WorkersAtMaximum",
            metric=running_tasks(self._worker.service, statistic="Minimum"),
            threshold=most,
            periods=15,
            description=f"All {most} workers have run for 15 minutes. If the backlog still grows, "
            "raise worker_max_tasks; if it does not, one client may be sending a batch: nothing "
            "to do.",
        )

    def _watch_the_reconciler(self) -> None:
        settings = self._settings
        self._alarm(
            "ReconcilerSilent",
            metric=self._reconciler_metric("ReconcileRuns").with_(
                period=Duration.minutes(3 * settings.reconcile_interval_min)
            ),
            threshold=1,
            comparison=ComparisonOperator.LESS_THAN_THRESHOLD,
            missing=TreatMissingData.BREACHING,
            description="Three runs of the reconciler in a row are missing: lost messages are not "
            "sent again and deadlines not kept. Look at the schedule, at stopped tasks of the "
            "reconciler's family, and at its log.",
        )
        self._alarm(
            "TasksOverdue",
            metric=self._reconciler_metric("OpenTasksOverdue", statistic="Maximum"),
            threshold=1,
            periods=2,
            description="Tasks are open although their deadline has passed, so a status lies. The "
            "reconciler's log warns `task overdue` with the task_id of each; look there for the "
            "write that was refused.",
        )

    def _reconciler_metric(self, name: str, *, statistic: str = "Sum") -> Any:
        return service_metric(
            name,
            service="reconciler",
            environment=self._settings.environment,
            statistic=statistic,
        ).with_(period=Duration.minutes(self._settings.reconcile_interval_min))

    def _alarm(
        self,
        name: str,
        *,
        metric: IMetric,
        threshold: float,
        description: str,
        periods: int = 1,
        comparison: ComparisonOperator = ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        missing: TreatMissingData = TreatMissingData.NOT_BREACHING,
    ) -> None:
        alarm = Alarm(
            self,
            name,
            metric=metric,
            threshold=threshold,
            evaluation_periods=periods,
            comparison_operator=comparison,
            treat_missing_data=missing,
            alarm_description=f"[{self._settings.environment}] {description}",
        )
        action = SnsAction(self.topic)
        alarm.add_alarm_action(action)
        alarm.add_ok_action(action)
        self.alarms.append(alarm)
