"""Alarms and the dashboard."""

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
    "100 * (FILL(target_errors, 0) + FILL(balancer_errors, 0)) "
    "/ MAX([FILL(requests, 1), FILL(target_errors, 0) + FILL(balancer_errors, 0)])"
)
"""Has a value even without a healthy container, when the load balancer itself returns the errors.

RequestCount excludes requests for which the load balancer found no target, so the number of
requests is taken to be at least the number of errors. MAX accepts only time series, hence
``FILL(requests, 1)``.

Source: "CloudWatch metrics for your Application Load Balancer", User Guide for Application Load
Balancers.
"""


class ObservabilityStack(Stack):
    """Attributes: `topic` and `alarms`. The description of an alarm says what to do."""

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

        self._add_queue_alarms()
        self._add_api_alarms()
        self._add_worker_alarms()
        self._add_reconciler_alarms()
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

    def _add_queue_alarms(self) -> None:
        promise_s = self._settings.start_promise_s
        self._add_alarm(
            "DeadLetters",
            metric=self._state.dead_letter_queue.metric_approximate_number_of_messages_visible(
                period=MINUTE, statistic="Maximum"
            ),
            threshold=1,
            description="Tasks failed through a fault of this system, or their messages could not "
            "be read. `taskctl dlq list` shows the tasks and the causes, `taskctl dlq show ID` "
            "the next steps. Fix the cause, then run `taskctl dlq redrive --code CODE`. Do not "
            "use the redrive of SQS, which does not reopen the tasks.",
        )
        self._add_alarm(
            "FirstClaimLate",
            metric=service_metric(
                "FirstClaimWait",
                service="worker",
                environment=self._settings.environment,
                statistic=Stats.percentile(95),
            ).with_(period=FIVE_MINUTES),
            threshold=promise_s * 1_000,
            # At low traffic, the next claim may be hours away.
            periods=1,
            description=f"Tasks wait longer than the promised {promise_s} s until a worker claims "
            "them. If all workers run and the backlog per worker is above its target, raise "
            "worker_max_tasks. If workers are missing, look for Spot interruptions and failed "
            "starts in the events of the worker service.",
        )
        queue = self._state.queue
        self._add_alarm(
            "QueueStalled",
            metric=MathExpression(
                expression="IF(FILL(visible, 0) > 0 AND FILL(deleted, 0) == 0, 1, 0)",
                using_metrics={
                    "visible": queue.metric_approximate_number_of_messages_visible(
                        period=MINUTE, statistic="Minimum"
                    ),
                    "deleted": queue.metric_number_of_messages_deleted(period=MINUTE),
                },
                label="Messages wait and none is completed",
                period=MINUTE,
            ),
            threshold=1,
            periods=15,
            description="Messages have waited for 15 minutes and no worker has completed one. "
            "Look for failed starts in the events of the worker service and for failed attempts "
            "in the workers' log.",
        )

    def _add_api_alarms(self) -> None:
        settings, metrics = self._settings, self._api.load_balancer.metrics
        self._add_alarm(
            "ApiErrors",
            metric=MathExpression(
                expression=ERROR_RATE_PERCENT,
                using_metrics={
                    "target_errors": metrics.http_code_target(
                        HttpCodeTarget.TARGET_5XX_COUNT, period=FIVE_MINUTES
                    ),
                    "balancer_errors": metrics.http_code_elb(
                        HttpCodeElb.ELB_5XX_COUNT, period=FIVE_MINUTES
                    ),
                    "requests": metrics.request_count(period=FIVE_MINUTES),
                },
                label="5xx responses, percent",
                period=FIVE_MINUTES,
            ),
            threshold=settings.api_error_rate_alarm_percent,
            periods=2,
            description=f"More than {settings.api_error_rate_alarm_percent:g} % of responses are "
            "5xx. /readyz names the dependency that fails, and the API's log has the traceback of "
            "each request ID. If this began with a deployment, roll it back first.",
        )
        self._add_alarm(
            "ApiDown",
            # Each zone reports its own count; this takes the largest.
            metric=self._api.target_group.metrics.healthy_host_count(
                period=MINUTE, statistic="Maximum"
            ),
            threshold=1,
            periods=2,
            comparison=ComparisonOperator.LESS_THAN_THRESHOLD,
            missing=TreatMissingData.BREACHING,
            description="No API container is healthy, so every request receives a 503 response. "
            "Look for failed starts in the events and stopped tasks of the API service, and for "
            "failures of /healthz in the API's log. If this began with a deployment, roll it back "
            "first.",
        )
        self._add_alarm(
            "ApiLatency",
            metric=metrics.target_response_time(
                period=FIVE_MINUTES, statistic=Stats.percentile(99)
            ),
            threshold=settings.api_p99_latency_alarm_s,
            periods=3,
            description="One request in a hundred is slower than "
            f"{settings.api_p99_latency_alarm_s:g} s. Look at the number and the CPU of API "
            "containers on the dashboard. If their number is at api_max_tasks, raise it. Otherwise "
            "look at the latency of the table and the queue.",
        )

    def _add_worker_alarms(self) -> None:
        maximum = self._settings.worker_max_tasks
        self._add_alarm(
            "WorkersAtMaximum",
            metric=running_tasks(self._worker.service, statistic="Minimum"),
            threshold=maximum,
            periods=15,
            description=f"All {maximum} workers have run for 15 minutes. If the backlog still "
            "grows, raise worker_max_tasks. If it does not, a client may have sent a large batch, "
            "and there is nothing to do.",
        )

    def _add_reconciler_alarms(self) -> None:
        settings = self._settings
        self._add_alarm(
            "ReconcilerSilent",
            metric=self._reconciler_metric("ReconcileRuns").with_(
                period=Duration.minutes(3 * settings.reconcile_interval_min)
            ),
            threshold=1,
            comparison=ComparisonOperator.LESS_THAN_THRESHOLD,
            missing=TreatMissingData.BREACHING,
            description="The reconciler has missed three runs, so lost messages are not sent "
            "again and deadlines are not enforced. Look at the schedule, at the stopped tasks of "
            "the reconciler's task definition, and at its log.",
        )
        self._add_alarm(
            "TasksOverdue",
            metric=self._reconciler_metric("OpenTasksOverdue", statistic="Maximum"),
            threshold=1,
            periods=2,
            description="Tasks are open after their deadline. The reconciler logs `task overdue` "
            "with the task_id of each. Look in its log for the write that was refused.",
        )

    def _reconciler_metric(self, name: str, *, statistic: str = "Sum") -> Any:
        return service_metric(
            name,
            service="reconciler",
            environment=self._settings.environment,
            statistic=statistic,
        ).with_(period=Duration.minutes(self._settings.reconcile_interval_min))

    def _add_alarm(
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
