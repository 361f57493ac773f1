"""boto3 clients of the emulated AWS."""

from functools import cached_property
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from local.embedded_aws import REGION

if TYPE_CHECKING:
    from types_boto3_acm import ACMClient
    from types_boto3_application_autoscaling import ApplicationAutoScalingClient
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_ecr import ECRClient
    from types_boto3_ecs import ECSClient
    from types_boto3_elbv2 import ElasticLoadBalancingv2Client
    from types_boto3_iam import IAMClient
    from types_boto3_s3 import S3Client
    from types_boto3_scheduler import EventBridgeSchedulerClient
    from types_boto3_secretsmanager import SecretsManagerClient
    from types_boto3_sqs import SQSClient
    from types_boto3_sts import STSClient
    from types_boto3_sts.type_defs import CredentialsTypeDef

OPERATOR = "local"
_CONFIG = Config(max_pool_connections=30)


class AwsClients:
    """One client per service, created on first use. Thread-safe.

    Without a `session`, calls are signed with the operator's key, which may do everything.
    """

    def __init__(self, *, endpoint_url: str, session: boto3.Session | None = None) -> None:
        self._session = session or boto3.Session(
            aws_access_key_id=OPERATOR, aws_secret_access_key=OPERATOR, region_name=REGION
        )
        self._endpoint_url = endpoint_url

    def with_credentials(self, credentials: "CredentialsTypeDef") -> "AwsClients":
        """Clients that sign with other credentials."""
        session = boto3.Session(
            aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials["SecretAccessKey"],
            aws_session_token=credentials["SessionToken"],
            region_name=REGION,
        )
        return AwsClients(endpoint_url=self._endpoint_url, session=session)

    @cached_property
    def acm(self) -> "ACMClient":
        return self._session.client("acm", endpoint_url=self._endpoint_url, config=_CONFIG)

    @cached_property
    def autoscaling(self) -> "ApplicationAutoScalingClient":
        return self._session.client(
            "application-autoscaling", endpoint_url=self._endpoint_url, config=_CONFIG
        )

    @cached_property
    def cloudformation(self) -> "CloudFormationClient":
        return self._session.client(
            "cloudformation", endpoint_url=self._endpoint_url, config=_CONFIG
        )

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        return self._session.client("dynamodb", endpoint_url=self._endpoint_url, config=_CONFIG)

    @cached_property
    def ecr(self) -> "ECRClient":
        return self._session.client("ecr", endpoint_url=self._endpoint_url, config=_CONFIG)

    @cached_property
    def ecs(self) -> "ECSClient":
        return self._session.client("ecs", endpoint_url=self._endpoint_url, config=_CONFIG)

    @cached_property
    def elbv2(self) -> "ElasticLoadBalancingv2Client":
        return self._session.client("elbv2", endpoint_url=self._endpoint_url, config=_CONFIG)

    @cached_property
    def iam(self) -> "IAMClient":
        return self._session.client("iam", endpoint_url=self._endpoint_url, config=_CONFIG)

    @cached_property
    def s3(self) -> "S3Client":
        return self._session.client("s3", endpoint_url=self._endpoint_url, config=_CONFIG)

    @cached_property
    def scheduler(self) -> "EventBridgeSchedulerClient":
        return self._session.client("scheduler", endpoint_url=self._endpoint_url, config=_CONFIG)

    @cached_property
    def secretsmanager(self) -> "SecretsManagerClient":
        return self._session.client(
            "secretsmanager", endpoint_url=self._endpoint_url, config=_CONFIG
        )

    @cached_property
    def sqs(self) -> "SQSClient":
        return self._session.client("sqs", endpoint_url=self._endpoint_url, config=_CONFIG)

    @cached_property
    def sts(self) -> "STSClient":
        return self._session.client("sts", endpoint_url=self._endpoint_url, config=_CONFIG)
