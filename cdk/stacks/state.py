"""The data: table, queues, buckets and API keys."""

import json
from typing import Any

from aws_cdk import CfnOutput, Duration, RemovalPolicy, SecretValue, Stack
from aws_cdk.aws_backup import BackupPlan, BackupPlanRule, BackupResource, BackupVault
from aws_cdk.aws_dynamodb import (
    Attribute,
    AttributeType,
    BillingMode,
    PointInTimeRecoverySpecification,
    ProjectionType,
    Table,
)
from aws_cdk.aws_events import Schedule
from aws_cdk.aws_s3 import (
    BlockPublicAccess,
    Bucket,
    BucketEncryption,
    CorsRule,
    HttpMethods,
    LifecycleRule,
)
from aws_cdk.aws_secretsmanager import Secret
from aws_cdk.aws_sqs import (
    DeadLetterQueue,
    Queue,
    QueueEncryption,
    RedriveAllowPolicy,
    RedrivePermission,
)
from constructs import Construct

from cdk.changes import fixed_settings
from cdk.constructs.findings import acknowledge
from cdk.constructs.retention import removal_policy
from cdk.settings import Settings

OPEN_TASKS_INDEX = "OpenTaskNeeds"
OPEN_TASKS_INDEX_BEFORE = "OpenTasks"
"""Sparse index of the open tasks, for the reconciler."""

RESULTS, UPLOADS = "results/", "uploads/"


class StateStack(Stack):
    """Attributes: `table`, `queue`, `dead_letter_queue`, the two buckets and `api_keys`."""

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, **stack: Any
    ) -> None:
        super().__init__(scope, construct_id, **stack)
        self._settings = settings
        self.table = self._task_table()
        self.dead_letter_queue, self.queue = self._queues()
        if settings.backup_retention_days:
            self._back_up()
        self.log_bucket = self._log_bucket()
        self.result_bucket = self._result_bucket()
        self.api_keys = self._api_keys()

        CfnOutput(self, "Disposable", value=str(settings.disposable).lower())
        CfnOutput(self, "DeletionProtection", value=str(settings.is_protected).lower())
        CfnOutput(self, "FixedSettings", value=json.dumps(fixed_settings(settings)))
        CfnOutput(self, "TaskTable", value=self.table.table_name)
        CfnOutput(self, "TaskQueueUrl", value=self.queue.queue_url)
        CfnOutput(self, "DeadLetterQueueUrl", value=self.dead_letter_queue.queue_url)
        CfnOutput(self, "ResultBucket", value=self.result_bucket.bucket_name)
        CfnOutput(self, "LogBucket", value=self.log_bucket.bucket_name)
        CfnOutput(self, "ApiKeysSecretId", value=self.api_keys.secret_arn)
        # For taskctl, which keeps the row of a reopened task as long as the API does.
        retention = Duration.days(settings.result_retention_days)
        CfnOutput(self, "RowRetentionS", value=str(retention.to_seconds()))

    def _task_table(self) -> Table:
        table = Table(
            self,
            "Tasks",
            partition_key=Attribute(name="taskId", type=AttributeType.STRING),
            billing_mode=BillingMode.PAY_PER_REQUEST,
            time_to_live_attribute="expiresAt",
            point_in_time_recovery_specification=PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=self._settings.is_protected,
            removal_policy=removal_policy(self._settings),
        )
        table.add_global_secondary_index(
            index_name=OPEN_TASKS_INDEX,
            partition_key=Attribute(name="openShard", type=AttributeType.NUMBER),
            sort_key=Attribute(name="checkAt", type=AttributeType.NUMBER),
            projection_type=ProjectionType.INCLUDE,
            non_key_attributes=["deadlineAt", "unsent"],
        )
        if self._settings.keep_previous_index:
            table.add_global_secondary_index(
                index_name=OPEN_TASKS_INDEX_BEFORE,
                partition_key=Attribute(name="openShard", type=AttributeType.NUMBER),
                sort_key=Attribute(name="checkAt", type=AttributeType.NUMBER),
                projection_type=ProjectionType.KEYS_ONLY,
            )
        return table

    def _back_up(self) -> None:
        """Only the table: results expire, and the queues and the keys can be recreated."""
        vault = BackupVault(self, "Backups", removal_policy=removal_policy(self._settings))
        plan = BackupPlan(self, "BackupPlan", backup_vault=vault)
        plan.add_rule(
            BackupPlanRule(
                schedule_expression=Schedule.cron(hour="3", minute="0"),
                delete_after=Duration.days(self._settings.backup_retention_days),
            )
        )
        selection = plan.add_selection(
            "Table", resources=[BackupResource.from_dynamo_db_table(self.table)]
        )
        acknowledge(
            selection,
            "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/"
            "AWSBackupServiceRolePolicyForBackup]",
            reason="AWS Backup's own policy for its role, which AWS keeps up to date.",
        )

    def _queues(self) -> tuple[Queue, Queue]:
        """The dead-letter queue and the task queue.

        Neither outlives its stack: a message only names a row, and the reconciler sends a lost
        message again.
        """
        settings = self._settings
        # Each queue refers to the other, so one of them needs a fixed name.
        name = f"taskfleet-{settings.environment}-tasks"
        source = Queue.from_queue_arn(self, "Source", self.format_arn(service="sqs", resource=name))
        dead_letters = Queue(
            self,
            "DeadLetters",
            encryption=QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(settings.dead_letter_retention_days),
            redrive_allow_policy=RedriveAllowPolicy(
                redrive_permission=RedrivePermission.BY_QUEUE, source_queues=[source]
            ),
            removal_policy=RemovalPolicy.DESTROY,
        )
        queue = Queue(
            self,
            "Queue",
            queue_name=name,
            encryption=QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            visibility_timeout=Duration.seconds(settings.visibility_timeout_s),
            retention_period=Duration.days(settings.queue_retention_days),
            dead_letter_queue=DeadLetterQueue(
                queue=dead_letters, max_receive_count=settings.max_receive_count
            ),
            removal_policy=RemovalPolicy.DESTROY,
        )
        return dead_letters, queue

    def _log_bucket(self) -> Bucket:
        bucket = Bucket(
            self,
            "AccessLogs",
            block_public_access=BlockPublicAccess.BLOCK_ALL,
            encryption=BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            lifecycle_rules=[
                LifecycleRule(
                    id="logs", expiration=Duration.days(self._settings.log_retention_days)
                )
            ],
            removal_policy=removal_policy(self._settings),
        )
        acknowledge(
            bucket,
            "AwsSolutions-S1",
            reason="It receives the access logs. Logging access to it would never end.",
        )
        return bucket

    def _result_bucket(self) -> Bucket:
        settings = self._settings
        return Bucket(
            self,
            "Results",
            block_public_access=BlockPublicAccess.BLOCK_ALL,
            encryption=BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            server_access_logs_bucket=self.log_bucket,
            server_access_logs_prefix="results-bucket/",
            lifecycle_rules=[
                # Results of all attempts have the same prefix.
                LifecycleRule(
                    id="results",
                    prefix=RESULTS,
                    expiration=Duration.days(settings.result_retention_days),
                ),
                LifecycleRule(
                    id="uploads",
                    prefix=UPLOADS,
                    expiration=Duration.days(settings.upload_retention_days),
                ),
                LifecycleRule(
                    id="unfinished", abort_incomplete_multipart_upload_after=Duration.days(1)
                ),
            ],
            cors=[
                # After the redirect to a presigned URL, a browser sends `Origin: null`, so a list
                # of origins cannot work. The signature in the URL controls access.
                CorsRule(
                    allowed_methods=[HttpMethods.GET, HttpMethods.HEAD],
                    allowed_origins=["*"],
                    exposed_headers=["ETag", "Content-Length", "Content-Type"],
                    max_age=3_600,
                )
            ],
            removal_policy=removal_policy(settings),
        )

    def _api_keys(self) -> Secret:
        secret = Secret(
            self,
            "ApiKeys",
            description="Hashes of the API keys, written by taskctl",
            # No keys yet. CloudFormation writes this value once and does not restore it later.
            secret_string_value=SecretValue.unsafe_plain_text("{}"),
            removal_policy=removal_policy(settings=self._settings),
        )
        acknowledge(
            secret,
            "AwsSolutions-SMG4",
            reason="The secret contains only hashes of keys that clients hold. To rotate a key, "
            "create a second one, hand it over and revoke the first.",
        )
        return secret
