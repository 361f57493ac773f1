"""The only creator of boto3 clients, and the boundary at which botocore's errors become ours.

Region, endpoint and credentials come from where boto3 looks for them (``AWS_REGION``,
``AWS_ENDPOINT_URL``, the container's role).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from services.common.errors import AwsError

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_s3 import S3Client
    from types_boto3_secretsmanager import SecretsManagerClient
    from types_boto3_sqs import SQSClient

CONNECT_TIMEOUT_S = 2
READ_TIMEOUT_S = 5
"""DynamoDB, SQS and Secrets Manager answer in milliseconds; a call that takes this long is lost."""
TRANSFER_TIMEOUT_S = 10
"""For S3: between two reads of a transfer of some megabytes."""
MAX_ATTEMPTS = 3
"""With boto3's ``standard`` mode: jittered exponential backoff, and a retry quota per client."""


def _config(*, read_timeout_s: float, connections: int) -> Config:
    return Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=read_timeout_s,
        max_pool_connections=connections,
        retries={"mode": "standard", "total_max_attempts": MAX_ATTEMPTS},
        tcp_keepalive=True,
    )


class Aws:
    """Makes the clients of one process; each is thread-safe and meant to be made once.

    `connections` is how many threads use a client at once; `region` is the deployment's.
    """

    def __init__(self, *, region: str, connections: int = 10) -> None:
        self._session = boto3.Session(region_name=region)
        self._connections = connections

    def dynamodb(self) -> "DynamoDBClient":
        config = _config(read_timeout_s=READ_TIMEOUT_S, connections=self._connections)
        return self._session.client("dynamodb", config=config)

    def sqs(self, *, receive_wait_s: float = 0) -> "SQSClient":
        """A client whose read timeout outlasts a long poll of `receive_wait_s`."""
        config = _config(
            read_timeout_s=READ_TIMEOUT_S + receive_wait_s, connections=self._connections
        )
        return self._session.client("sqs", config=config)

    def s3(self) -> "S3Client":
        config = _config(read_timeout_s=TRANSFER_TIMEOUT_S, connections=self._connections)
        # SigV4 and the virtual-hosted or path style that the endpoint asks for.
        return self._session.client("s3", config=config.merge(Config(signature_version="s3v4")))

    def secretsmanager(self) -> "SecretsManagerClient":
        config = _config(read_timeout_s=READ_TIMEOUT_S, connections=1)
        return self._session.client("secretsmanager", config=config)


@contextmanager
def translated(error: type[AwsError]) -> Iterator[None]:
    """Raise `error` for whatever botocore raises, except a failed condition, which is an answer."""
    try:
        yield
    except ClientError as refused:
        if refused.response["Error"]["Code"] == "ConditionalCheckFailedException":
            raise
        raise error(_sentence(refused)) from refused
    except BotoCoreError as failed:
        raise error(type(failed).__name__) from failed


def _sentence(refused: ClientError) -> str:
    return f"{refused.operation_name}: {refused.response['Error']['Code']}"
