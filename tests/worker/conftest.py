"""Resources in an embedded AWS, which serves concurrent threads and other processes."""

from collections.abc import Iterator
from uuid import uuid4

import boto3
import pytest

from local.embedded_aws import EmbeddedAws
from tests.conftest import Cloud


@pytest.fixture
def embedded_aws() -> Iterator[EmbeddedAws]:
    with EmbeddedAws() as aws:
        yield aws


@pytest.fixture
def embedded_cloud(embedded_aws: EmbeddedAws, session: boto3.Session) -> Cloud:
    """Unlike the fixture ``cloud``, its table evaluates a condition and writes in one step."""
    endpoint_url = embedded_aws.endpoint_url
    return Cloud(
        dynamodb=session.client("dynamodb", endpoint_url=endpoint_url),
        sqs=session.client("sqs", endpoint_url=endpoint_url),
        s3=session.client("s3", endpoint_url=endpoint_url),
        secretsmanager=session.client("secretsmanager", endpoint_url=endpoint_url),
        prefix=f"worker-{uuid4()}",
    )
