"""Alarms and the dashboard."""

from typing import Any

from aws_cdk import Duration, Stack
from aws_cdk.aws_cloudwatch import (
    Alarm,
    ComparisonOperator,
    IMetric,
    MathExpression,
    Metric,
    Stats,
)
from aws_cdk.aws_cloudwatch_actions import SnsAction
from aws_cdk.aws_elasticloadbalancingv2 import HttpCodeElb, HttpCodeTarget
from aws_cdk.aws_iam import PolicyStatement, ServicePrincipal
from aws_cdk.aws_sns import CfnSubscription, ITopic, Topic
from constructs import Construct

from cdk.constructs.alarm import LateTolerantAlarm, MissingMetricAlarm
from cdk.constructs.dashboard import Dashboard
from cdk.constructs.metrics import MINUTE, healthy_hosts, running_tasks, service_metric
from cdk.settings import Settings
from cdk.stacks.api import ApiStack
from cdk.stacks.state import StateStack
from cdk.stacks.worker import WorkerStack

FIVE_MINUTES = Duration.minutes(5)

FEWEST_ERRORS = 5
"""Failed responses within five minutes below which no alarm goes off, whatever their share."""


class ObservabilityStack(Stack):
    """Attributes: `topic` and `alarms`. The description of an alarm says what to do."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
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
        self.topic = self._topic()
        if settings.alarm_email:
            self._mail(settings.alarm_email)
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
            has_nat_gateways=settings.nat_gateways > 0 and not settings.vpc_id,
        )

    def _topic(self) -> ITopic:
        if self._settings.alarm_topic_arn:
            return Topic.from_topic_arn(self, "Alarms", self._settings.alarm_topic_arn)
        topic = Topic(self, "Alarms", enforce_ssl=True)
        topic.add_to_resource_policy(
            PolicyStatement(
                principals=[ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )
        return topic

    def _mail(self, address: str) -> None:
        """Mail every change of an alarm except to OK from the state of a new alarm.

        Uses the L1 construct, because the CDK's filters do not know ``$or``.

        Source: "Filter policy syntax", Amazon SNS Developer Guide.
        """
        CfnSubscription(
            self,
            "Email",
            topic_arn=self.topic.topic_arn,
            protocol="email",
            endpoint=address,
            filter_policy_scope="MessageBody",
            filter_policy={
                "$or": [
                    {"NewStateValue": ["ALARM", "INSUFFICIENT_DATA"]},
                    {"OldStateValue": ["ALARM"]},
                ]
            },
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
            ),
            period_min=5,
            threshold=promise_s * 1_000,
            # At low traffic, the next claim may be hours away.
            datapoints=1,
            description=f"Tasks wait longer than the promised {promise_s} s until a worker claims "
            "them. If all workers run and the backlog per worker is above its target, raise "
            "worker_max_tasks. If workers are missing, look for Spot interruptions and failed "
            "starts in the events of the worker service.",
        )
        queue = self._state.queue
        self._add_alarm(
            "QueueStalled",
            metric=MathExpression(
                expression="IF(visible > 0 AND deleted == 0, 1, 0)",
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
            datapoints=15,
            description="Messages have waited for 15 minutes and no worker has completed one. "
            "Look for failed starts in the events of the worker service and for failed attempts "
            "in the workers' log.",
        )

    def _add_api_alarms(self) -> None:
        settings, metrics = self._settings, self._api.load_balancer.metrics
        percent = settings.api_error_rate_alarm_percent
        self._add_error_alarm(
            "ApiErrors",
            metrics.http_code_target(HttpCodeTarget.TARGET_5XX_COUNT),
            description=f"The API answers more than {percent:g} % of requests with 5xx. /readyz "
            "names the dependency that fails, and the API's log has the traceback of each request "
            "ID. If this began with a deployment, roll it back first.",
        )
        self._add_error_alarm(
            "LoadBalancerErrors",
            metrics.http_code_elb(HttpCodeElb.ELB_5XX_COUNT),
            description=f"The load balancer itself answers more than {percent:g} % of requests "
            "with 5xx: 502 if a container closes the connection, 503 without a container, 504 if a "
            "container is too slow. Look at the number and the CPU of API containers and at their "
            "stopped tasks. If this began with a deployment, roll it back first.",
        )
        hosts = healthy_hosts(self._api.load_balancer, self._api.target_group)
        what_to_do = (
            "Look for failed starts in the events and stopped tasks of the API service, and for "
            "failures of /healthz in the API's log. If this began with a deployment, roll it back "
            "first."
        )
        self._add_alarm(
            "ApiDown",
            metric=hosts,
            threshold=1,
            # Two minutes without a healthy container are normal in a first deployment.
            datapoints=3,
            comparison=ComparisonOperator.LESS_THAN_THRESHOLD,
            description=f"No API container is healthy. {what_to_do}",
        )
        self._add_missing_alarm(
            "ApiMissing",
            metric=hosts,
            periods=10,
            description="The load balancer has had no API container for 10 minutes and answers "
            f"every request with 503. {what_to_do}",
        )
        self._add_alarm(
            "ApiLatency",
            metric=metrics.target_response_time(statistic=Stats.percentile(99)),
            period_min=5,
            threshold=settings.api_p99_latency_alarm_s,
            datapoints=3,
            description="One request in a hundred is slower than "
            f"{settings.api_p99_latency_alarm_s:g} s. Look at the number and the CPU of API "
            "containers on the dashboard. If their number is at api_max_tasks, raise it. Otherwise "
            "look at the latency of the table and the queue.",
        )

    def _add_error_alarm(self, name: str, errors: Metric, *, description: str) -> None:
        """RequestCount excludes requests for which the load balancer found no container.

        Without any container there is no rate, and `ApiDown` or `ApiMissing` goes off.

        Source: "CloudWatch metrics for your Application Load Balancer", User Guide for Application
        Load Balancers.
        """
        requests = self._api.load_balancer.metrics.request_count(period=FIVE_MINUTES)
        self._add_alarm(
            name,
            metric=MathExpression(
                expression=f"IF(errors >= {FEWEST_ERRORS}, 100 * errors / requests, 0)",
                using_metrics={"errors": errors.with_(period=FIVE_MINUTES), "requests": requests},
                label="5xx responses, percent",
                period=FIVE_MINUTES,
            ),
            period_min=5,
            threshold=self._settings.api_error_rate_alarm_percent,
            datapoints=2,
            description=description,
        )

    def _add_worker_alarms(self) -> None:
        maximum = self._settings.worker_max_tasks
        self._add_alarm(
            "WorkersAtMaximum",
            metric=running_tasks(self._worker.service, statistic="Minimum"),
            threshold=maximum,
            datapoints=15,
            description=f"All {maximum} workers have run for 15 minutes. If the backlog still "
            "grows, raise worker_max_tasks. If it does not, a client may have sent a large batch, "
            "and there is nothing to do.",
        )

    def _add_reconciler_alarms(self) -> None:
        interval = self._settings.reconcile_interval_min
        two_runs = Duration.minutes(2 * interval)
        attempts = self._worker.schedule_group.metric_attempts(statistic="Sum")
        without_it = "Without it, lost messages are not sent again and deadlines are not enforced."
        self._add_alarm(
            "ReconcilerFails",
            metric=MathExpression(
                # A run that fails reports nothing, so here a missing value is a failure.
                expression="IF(started > 0 AND FILL(completed, 0) < 1, 1, 0)",
                using_metrics={
                    "started": attempts.with_(period=two_runs),
                    "completed": self._reconciler_metric("ReconcileRuns").with_(period=two_runs),
                },
                label="Runs start and none completes",
                period=two_runs,
            ),
            period_min=2 * interval,
            threshold=1,
            datapoints=2,
            description="The schedule starts the reconciler, but it has completed no run in "
            f"{4 * interval} minutes. {without_it} Look at the stopped tasks of its task "
            "definition, at its log, and in the dead-letter queue of its schedule.",
        )
        self._add_missing_alarm(
            "ScheduleMissing",
            metric=attempts.with_(period=Duration.minutes(interval)),
            periods=6,
            description=f"The schedule has not started the reconciler for {6 * interval} minutes. "
            f"{without_it} Check that the schedule exists and is enabled.",
        )
        self._add_alarm(
            "TasksOverdue",
            metric=self._reconciler_metric("OpenTasksOverdue", statistic="Maximum"),
            period_min=interval,
            threshold=1,
            datapoints=2,
            description="Tasks are open after their deadline. The reconciler logs `task overdue` "
            "with the task_id of each. Look in its log for the write that was refused.",
        )

    def _reconciler_metric(self, name: str, *, statistic: str = "Sum") -> Metric:
        return service_metric(
            name,
            service="reconciler",
            environment=self._settings.environment,
            statistic=statistic,
        )

    def _add_alarm(
        self,
        name: str,
        *,
        metric: Metric | MathExpression,
        threshold: float,
        description: str,
        datapoints: int = 1,
        period_min: int = 1,
        comparison: ComparisonOperator = ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
    ) -> None:
        alarm = LateTolerantAlarm(
            self,
            name,
            metric=metric.with_(period=Duration.minutes(period_min)),
            threshold=threshold,
            datapoints=datapoints,
            period_min=period_min,
            comparison=comparison,
            description=f"[{self._settings.environment}] {description}",
        )
        alarm.add_alarm_action(SnsAction(self.topic))
        alarm.add_ok_action(SnsAction(self.topic))
        self.alarms.append(alarm)

    def _add_missing_alarm(
        self, name: str, *, metric: IMetric, periods: int, description: str
    ) -> None:
        alarm = MissingMetricAlarm(
            self,
            name,
            metric=metric,
            periods=periods,
            description=f"[{self._settings.environment}] {description}",
        )
        alarm.add_insufficient_data_action(SnsAction(self.topic))
        self.alarms.append(alarm)
