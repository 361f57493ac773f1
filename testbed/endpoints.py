"""The endpoints of an AWS on loopback, and clients for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import boto3
from botocore.config import Config

from local.embedded_aws import REGION, isolated

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_s3 import S3Client
    from types_boto3_secretsmanager import SecretsManagerClient
    from types_boto3_sqs import SQSClient

ACCESS_KEY_ID, SECRET_ACCESS_KEY = "loopback", "loopback-secret-access-key"
"""The credentials of all processes and clients. Engines that check signatures must know them."""

_CONFIG = Config(
    signature_version="s3v4",
    s3={"addressing_style": "path"},
    retries={"mode": "standard", "total_max_attempts": 3},
)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """One URL per service."""

    dynamodb: str
    s3: str
    secretsmanager: str
    sqs: str

    @classmethod
    def all_at(cls, url: str) -> Self:
        return cls(dynamodb=url, s3=url, secretsmanager=url, sqs=url)

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """`base` plus the variables that make a process use this AWS and no other."""
        return {
            **isolated(base, endpoint_url=self.secretsmanager),
            "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
            "AWS_ENDPOINT_URL_DYNAMODB": self.dynamodb,
            "AWS_ENDPOINT_URL_S3": self.s3,
            "AWS_ENDPOINT_URL_SQS": self.sqs,
        }


class LoopbackClients:
    """Clients for tests that inspect the AWS on loopback."""

    def __init__(self, endpoints: Endpoints) -> None:
        session = boto3.Session(
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY_ID,
            aws_secret_access_key=SECRET_ACCESS_KEY,
        )
        self.dynamodb: DynamoDBClient = session.client(
            "dynamodb", endpoint_url=endpoints.dynamodb, config=_CONFIG
        )
        self.s3: S3Client = session.client("s3", endpoint_url=endpoints.s3, config=_CONFIG)
        self.secretsmanager: SecretsManagerClient = session.client(
            "secretsmanager", endpoint_url=endpoints.secretsmanager, config=_CONFIG
        )
        self.sqs: SQSClient = session.client("sqs", endpoint_url=endpoints.sqs, config=_CONFIG)
