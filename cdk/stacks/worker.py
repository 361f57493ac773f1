"""The worker service with its scaling, and the reconciler with its schedule."""

from typing import Any

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk.aws_ec2 import Port, SecurityGroup
from aws_cdk.aws_ecs import (
    CapacityProviderStrategy,
    DeploymentCircuitBreaker,
    FargateService,
    HealthCheck,
    PropagatedTagSource,
)
from aws_cdk.aws_iam import PolicyStatement
from aws_cdk.aws_scheduler import Schedule, ScheduleExpression, ScheduleGroup
from aws_cdk.aws_scheduler_targets import EcsRunFargateTask
from aws_cdk.aws_sqs import Queue, QueueEncryption
from constructs import Construct

from cdk.constructs.backlog_scaling import BacklogScaling
from cdk.constructs.findings import acknowledge, acknowledge_objects
from cdk.constructs.hardened_task import HardenedTask
from cdk.constructs.service_image import ServiceImage
from cdk.settings import Settings
from cdk.stacks.network import NetworkStack, egress_group
from cdk.stacks.state import OPEN_TASKS_INDEX, RESULTS, StateStack

MIB = 1024**2


class WorkerStack(Stack):
    """Attributes: `service`, `scaling`, `schedule_group`, and the task definitions `task` and
    `reconciler`.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        network: NetworkStack,
        state: StateStack,
        **stack: Any,
    ) -> None:
        super().__init__(scope, construct_id, **stack)
        self._settings = settings
        self._network = network
        self._state = state
        self._image = ServiceImage(self, "Image", settings=settings, service="worker")
        self._common_environment = {
            "TASKFLEET_ENVIRONMENT": settings.environment,
            "AWS_REGION": self.region,
            "TASK_TABLE": state.table.table_name,
            "TASK_QUEUE_URL": state.queue.queue_url,
            "LEASE_S": str(settings.visibility_timeout_s),
            "ROW_RETENTION_S": str(Duration.days(settings.result_retention_days).to_seconds()),
        }

        self.task = self._worker_task()
        acknowledge_objects(
            self.task,
            state.result_bucket,
            f"{RESULTS}*",
            reason="Each attempt of each task writes its result under its own key.",
        )
        self.service = self._worker_service()
        self.scaling = BacklogScaling(
            self, "Scaling", settings=settings, service=self.service, queue=state.queue
        )
        self.reconciler = self._reconciler_task()
        # Of its own, because the metrics of schedules are counted by group.
        self.schedule_group = ScheduleGroup(
            self, "Schedules", schedule_group_name=f"taskfleet-{settings.environment}"
        )
        # The CDK keeps it by default, and its name would make the next deployment fail.
        self.schedule_group.apply_removal_policy(RemovalPolicy.DESTROY)
        self._schedule_reconciler()

    def _worker_task(self) -> HardenedTask:
        settings, state = self._settings, self._state
        return HardenedTask(
            self,
            "Task",
            settings=settings,
            image=self._image,
            cpu=settings.worker_cpu,
            memory_mib=settings.worker_memory_mib,
            stop_timeout_s=settings.worker_stop_timeout_s,
            health_check=HealthCheck(
                command=["CMD", "python", "-I", "-S", "services/worker/probe.py"],
                interval=Duration.seconds(60),
                timeout=Duration.seconds(10),
                retries=2,
                start_period=Duration.seconds(60),
            ),
            environment={
                **self._common_environment,
                "RESULT_BUCKET": state.result_bucket.bucket_name,
                "DEAD_LETTER_QUEUE_URL": state.dead_letter_queue.queue_url,
                "FETCH_DENIED_NETWORKS": ",".join(settings.networks_denied_to_workers),
                "HEARTBEAT_INTERVAL_S": str(settings.heartbeat_interval_s),
                "PROCESSING_BUDGET_S": str(settings.processing_budget_s),
                "STOP_TIMEOUT_S": str(settings.worker_stop_timeout_s),
                "WORKER_VCPUS": str(settings.worker_cpu / 1_024),
                "WORKER_CONCURRENCY": str(settings.worker_concurrency),
                "IMAGING_MEMORY_BYTES": str(settings.imaging_memory_mib * MIB),
                **({"FETCH_CONTACT": settings.fetch_contact} if settings.fetch_contact else {}),
            },
            statements=[
                PolicyStatement(
                    actions=["dynamodb:UpdateItem"],
                    resources=[state.table.table_arn],
                ),
                PolicyStatement(
                    actions=[
                        "sqs:ChangeMessageVisibility",
                        "sqs:DeleteMessage",
                        "sqs:ReceiveMessage",
                    ],
                    resources=[state.queue.queue_arn],
                ),
                PolicyStatement(
                    actions=["sqs:SendMessage"],
                    resources=[state.dead_letter_queue.queue_arn],
                ),
                PolicyStatement(
                    actions=["s3:DeleteObject", "s3:PutObject"],
                    resources=[state.result_bucket.arn_for_objects(f"{RESULTS}*")],
                ),
            ],
        )

    def _worker_service(self) -> FargateService:
        settings = self._settings
        return FargateService(
            self,
            "Service",
            cluster=self._network.cluster,
            task_definition=self.task,
            security_groups=[
                self._group(
                    "ServiceGroup", "Workers: AWS and image servers out", [Port.HTTPS, Port.HTTP]
                )
            ],
            vpc_subnets=self._network.worker_subnets,
            assign_public_ip=self._network.assign_public_ip,
            enable_execute_command=settings.ecs_exec,
            capacity_provider_strategies=[
                CapacityProviderStrategy(
                    capacity_provider="FARGATE",
                    base=settings.worker_on_demand_base,
                    weight=100 - settings.worker_spot_percent,
                ),
                CapacityProviderStrategy(
                    capacity_provider="FARGATE_SPOT", weight=settings.worker_spot_percent
                ),
            ],
            propagate_tags=PropagatedTagSource.SERVICE,
            # Messages that a stopping worker gives back wait in the queue; no request fails.
            min_healthy_percent=50,
            max_healthy_percent=200,
            circuit_breaker=DeploymentCircuitBreaker(rollback=True),
        )

    def _reconciler_task(self) -> HardenedTask:
        settings, state = self._settings, self._state
        return HardenedTask(
            self,
            "Reconciler",
            settings=settings,
            image=self._image,
            command=["reconcile"],
            cpu=settings.reconciler_cpu,
            memory_mib=settings.reconciler_memory_mib,
            environment={
                **self._common_environment,
                "DEAD_LETTER_QUEUE_URL": state.dead_letter_queue.queue_url,
            },
            statements=[
                PolicyStatement(
                    actions=["dynamodb:BatchGetItem", "dynamodb:UpdateItem"],
                    resources=[state.table.table_arn],
                ),
                PolicyStatement(
                    actions=["dynamodb:Query"],
                    resources=[f"{state.table.table_arn}/index/{OPEN_TASKS_INDEX}"],
                ),
                PolicyStatement(
                    actions=["sqs:GetQueueAttributes", "sqs:SendMessage"],
                    resources=[state.queue.queue_arn],
                ),
                PolicyStatement(
                    actions=["sqs:GetQueueAttributes"],
                    resources=[state.dead_letter_queue.queue_arn],
                ),
            ],
        )

    def _schedule_reconciler(self) -> None:
        """Failed starts go to a queue that is there to be read: each names its error."""
        dead_letters = Queue(
            self,
            "ScheduleDeadLetters",
            encryption=QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(self._settings.dead_letter_retention_days),
            removal_policy=RemovalPolicy.DESTROY,
        )
        acknowledge(
            dead_letters,
            "AwsSolutions-SQS3",
            reason="It is the dead-letter queue of a schedule. cdk-nag only knows those of queues.",
        )
        interval = Duration.minutes(self._settings.reconcile_interval_min)
        Schedule(
            self,
            "Reconcile",
            description="Sends lost messages again and ends overdue tasks",
            schedule=ScheduleExpression.rate(interval),
            schedule_group=self.schedule_group,
            target=EcsRunFargateTask(
                self._network.cluster,
                task_definition=self.reconciler,
                assign_public_ip=self._network.assign_public_ip,
                security_groups=[
                    self._group("ReconcilerGroup", "Reconciler: AWS out", [Port.HTTPS])
                ],
                vpc_subnets=self._network.internal_subnets,
                # A run that could not start in time is skipped, since the next one is due.
                max_event_age=interval,
                retry_attempts=2,
                dead_letter_queue=dead_letters,
            ),
        )

    def _group(self, name: str, description: str, ports: list[Port]) -> SecurityGroup:
        return egress_group(self, name, vpc=self._network.vpc, description=description, ports=ports)
