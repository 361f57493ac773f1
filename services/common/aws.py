"""The only creator of boto3 clients, and the boundary at which botocore's errors become ours.

Region, endpoint and credentials come from where boto3 looks for them (``AWS_REGION``,
``AWS_ENDPOINT_URL``, the container's role).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from services.common.errors import AwsError
from services.common.version import VERSION

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_s3 import S3Client
    from types_boto3_secretsmanager import SecretsManagerClient
    from types_boto3_sqs import SQSClient


@dataclass(frozen=True, slots=True)
class CallLimits:
    """How long one call may take, in seconds, with all its retries.

    Retries are those of botocore's ``standard`` mode: exponential backoff with full jitter, and a
    quota for each client that ends them when most calls fail.
    """

    connect_timeout_s: float = 2
    """For each address of the endpoint's name."""
    read_timeout_s: float = 3
    """DynamoDB, SQS and Secrets Manager answer in milliseconds: what takes this long is lost."""
    transfer_timeout_s: float = 10
    """For S3: between two reads or writes of a transfer of some megabytes."""
    max_attempts: int = 3

    def max_call_s(self, *, wait_s: float = 0) -> float:
        """The most that a call to DynamoDB, SQS or Secrets Manager takes; `wait_s` of a long poll.

        Each try times out, and between them lies the longest pause that the service may ask for.
        """
        return self._longest_s(wait_s + self.read_timeout_s)

    def max_transfer_s(self) -> float:
        """The most that a call to S3 takes when nothing arrives."""
        return self._longest_s(self.transfer_timeout_s)

    def _longest_s(self, timeout_s: float) -> float:
        pauses_s: float = sum(
            2.0**retry + MOST_ASKED_FOR_S for retry in range(self.max_attempts - 1)
        )
        return self.max_attempts * (self.connect_timeout_s + timeout_s) + pauses_s


MOST_ASKED_FOR_S = 5
"""A service may ask by ``x-amz-retry-after`` for this much more than the backoff, which is up to
1 s · 2ⁿ when throttled (``ExponentialBackoff`` in botocore's ``retries/standard.py``)."""

USER_AGENT = f"Taskfleet/{VERSION} Boto3/{boto3.__version__}"
"""What CloudTrail and S3's access logs show of us. botocore's own, of 170 characters about the
machine, is composed anew for every call and takes 0.09 ms of the call's 0.9."""


class Aws:
    """Makes the clients of one process; each is thread-safe and meant to be made once.

    `connections` is how many threads use a client at once; `region` is the deployment's.
    `session` is for who brings credentials and an endpoint along.
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
        """A client whose read timeout outlasts a long poll of `receive_wait_s`.

        It is as patient with every other call, so what must be quick takes another client.
        """
        return self._session.client("sqs", self._region, config=self._config(wait_s=receive_wait_s))

    def s3(self) -> "S3Client":
        # SigV4 and the virtual-hosted or path style that the endpoint asks for.
        config = self._config().merge(
            Config(read_timeout=self._limits.transfer_timeout_s, signature_version="s3v4")
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
    """Raise `error` for whatever botocore raises, except a failed condition, which is an answer."""
    try:
        yield
    except ClientError as refused:
        if refused.response["Error"]["Code"] == "ConditionalCheckFailedException":
            raise
        raise error(_sentence(refused)) from refused
    except (BotoCoreError, ResponseParserError) as failed:
        # A ResponseParserError, which is no BotoCoreError, is an answer from something in between.
        raise error(type(failed).__name__) from failed


def _sentence(refused: ClientError) -> str:
    return f"{refused.operation_name}: {refused.response['Error']['Code']}"
