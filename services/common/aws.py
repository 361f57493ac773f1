"""Creates every boto3 client, and wraps botocore's errors in ours.

boto3 finds region, endpoint and credentials by itself (``AWS_REGION``, ``AWS_ENDPOINT_URL``, the
container's role).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from services.common.config import S3EndpointConfig
from services.common.errors import AwsError
from services.common.version import VERSION

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_s3 import S3Client
    from types_boto3_secretsmanager import SecretsManagerClient
    from types_boto3_sqs import SQSClient


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Timeouts of one call, in seconds, and its number of attempts.

    Retries use botocore's ``standard`` mode: exponential backoff with full jitter, and a quota for
    each client that stops retries when most calls fail.
    """

    connect_timeout_s: float = 2
    """For each IP address of the endpoint."""
    read_timeout_s: float = 3
    """DynamoDB, SQS and Secrets Manager respond in milliseconds. A slower response is lost."""
    transfer_timeout_s: float = 10
    """For S3: the longest pause in a transfer of several megabytes."""
    max_attempts: int = 3

    def max_call_s(self, *, wait_s: float = 0) -> float:
        """The longest that a call to DynamoDB, SQS or Secrets Manager takes.

        That is when every attempt times out and the service requests the longest pause between
        them. `wait_s` is the wait time of a long poll.
        """
        return self._max_s(wait_s + self.read_timeout_s)

    def max_transfer_s(self) -> float:
        """The longest that a call to S3 takes when no data is transferred."""
        return self._max_s(self.transfer_timeout_s)

    def _max_s(self, timeout_s: float) -> float:
        pauses_s: float = sum(
            2.0**retry + MAX_RETRY_AFTER_S for retry in range(self.max_attempts - 1)
        )
        return self.max_attempts * (self.connect_timeout_s + timeout_s) + pauses_s


MAX_RETRY_AFTER_S = 5
"""A service may lengthen the backoff by up to this much, with an ``x-amz-retry-after`` header. The
backoff itself is up to 1 s · 2ⁿ when throttled (``ExponentialBackoff`` in botocore's
``retries/standard.py``)."""

USER_AGENT = f"Taskfleet/{VERSION} Boto3/{boto3.__version__}"
"""Identifies us in CloudTrail and in S3's access logs. botocore's default, 170 characters about the
machine, is built for every call and takes 0.09 ms of the call's 0.9 ms."""


class Aws:
    """Creates the clients of one process. Each is thread-safe; create it once.

    `connections` is the number of threads that share a client. `region` is the deployment's. Pass a
    `session` to use other credentials or another endpoint.
    """

    def __init__(
        self,
        *,
        region: str,
        connections: int = 10,
        limits: CallLimits = CallLimits(),
        session: boto3.Session | None = None,
    ) -> None:
        self._session = session or boto3.Session(region_name=region)
        self._region = region
        self._connections = connections
        self._limits = limits

    def dynamodb(self) -> "DynamoDBClient":
        return self._session.client("dynamodb", self._region, config=self._config())

    def sqs(self, *, receive_wait_s: float = 0) -> "SQSClient":
        """A client whose read timeout allows for a long poll of `receive_wait_s`.

        The timeout applies to all of its calls. Use a client of its own for calls that must be
        fast.
        """
        return self._session.client("sqs", self._region, config=self._config(wait_s=receive_wait_s))

    def s3(self) -> "S3Client":
        """A client whose presigned URLs name the bucket's own region.

        By default, botocore presigns for the global host in every region, with signature version 2.
        For a bucket in another region, that host answers 307 to a host that the signature does not
        cover, or 400 if the region was launched after March 2019. A custom endpoint gets path
        style, because buckets have no names in its domain.

        Source: "Virtual hosting of general purpose buckets", Amazon S3 User Guide.
        """
        is_custom = S3EndpointConfig().is_custom()
        config = self._config().merge(
            Config(
                read_timeout=self._limits.transfer_timeout_s,
                signature_version="s3v4",
                s3={
                    "addressing_style": "path" if is_custom else "virtual",
                    "us_east_1_regional_endpoint": "regional",
                },
            )
        )
        return self._session.client("s3", self._region, config=config)

    def secretsmanager(self) -> "SecretsManagerClient":
        return self._session.client("secretsmanager", self._region, config=self._config())

    def _config(self, *, wait_s: float = 0) -> Config:
        return Config(
            connect_timeout=self._limits.connect_timeout_s,
            read_timeout=self._limits.read_timeout_s + wait_s,
            max_pool_connections=self._connections,
            retries={"mode": "standard", "total_max_attempts": self._limits.max_attempts},
            tcp_keepalive=True,
            user_agent=USER_AGENT,
        )


@contextmanager
def wrap_errors(error: type[AwsError]) -> Iterator[None]:
    """Raise `error` in place of any botocore error.

    A failed condition is a regular result, not a failure: its ``ClientError`` passes through.
    """
    try:
        yield
    except ClientError as rejected:
        code = rejected.response["Error"]["Code"]
        if code == "ConditionalCheckFailedException":
            raise
        raise error(f"{rejected.operation_name}: {code}") from rejected
    except (BotoCoreError, ResponseParserError) as failed:
        # A ResponseParserError is not a BotoCoreError. It means that a proxy responded, not AWS.
        raise error(type(failed).__name__) from failed
