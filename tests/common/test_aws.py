import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.exceptions import ReadTimeoutError

from services.common.aws import Aws, CallDeadlinePassed
from services.common.call_deadline import calls_end_by
from services.common.call_limits import CallLimits
from services.common.errors import QueueUnavailable
from services.common.result_bucket import ResultBucket
from services.common.task_queue import TaskQueue
from tests.tasks import envelope

REGIONS = {
    "us-east-1": "s3.us-east-1.amazonaws.com",
    "eu-west-1": "s3.eu-west-1.amazonaws.com",
    "af-south-1": "s3.af-south-1.amazonaws.com",
    "eu-central-2": "s3.eu-central-2.amazonaws.com",
    "us-gov-west-1": "s3.us-gov-west-1.amazonaws.com",
    "cn-north-1": "s3.cn-north-1.amazonaws.com.cn",
}
"""S3's host by region, from "Amazon S3 endpoints and quotas", AWS General Reference."""


def result_url(region: str) -> str:
    session = boto3.Session(
        region_name=region, aws_access_key_id="test", aws_secret_access_key="test"
    )
    bucket = ResultBucket(Aws(region=region, session=session).s3(), bucket="results")
    return bucket.presign("results/1/1.jpg", content_type="image/jpeg")


@pytest.mark.parametrize("region", REGIONS)
def test_a_result_is_downloaded_from_the_buckets_own_region(region: str) -> None:
    url = urlsplit(result_url(region))

    assert url.hostname == f"results.{REGIONS[region]}"
    assert url.path == "/results/1/1.jpg"
    assert f"%2F{region}%2Fs3%2Faws4_request" in url.query


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_a_custom_endpoint_needs_no_host_name_per_bucket(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "http://localhost:4566")

    url = urlsplit(result_url("us-east-1"))

    assert (url.netloc, url.path) == ("localhost:4566", "/results/results/1/1.jpg")


class CountingServer:
    """Lets clients connect and never responds."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"

    def connections(self) -> int:
        """The number of connections that wait to be accepted."""
        self._listening.settimeout(0.05)
        count = 0
        with suppress(TimeoutError):
            while True:
                self._listening.accept()[0].close()
                count += 1
        return count


LIMITS = CallLimits(connect_timeout_s=0.2, read_timeout_s=1, max_attempts=2)


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[CountingServer]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = CountingServer(listening)
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        yield server


@pytest.fixture
def aws() -> Aws:
    session = boto3.Session(
        region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    return Aws(region="us-east-1", session=session, limits=LIMITS)


def test_a_call_without_a_deadline_is_tried_as_often_as_configured(
    hanging: CountingServer, aws: Aws
) -> None:
    with pytest.raises(ReadTimeoutError):
        aws.sqs().get_queue_attributes(QueueUrl=hanging.url)

    assert hanging.connections() == LIMITS.max_attempts


@pytest.mark.parametrize("service", ["sqs", "dynamodb"])
def test_a_call_that_could_outlast_the_deadline_is_not_sent(
    hanging: CountingServer, aws: Aws, service: str
) -> None:
    calls: dict[str, Callable[[], object]] = {
        "sqs": lambda: aws.sqs().get_queue_attributes(QueueUrl=hanging.url),
        "dynamodb": lambda: aws.dynamodb().get_item(TableName="t", Key={"id": {"S": "1"}}),
    }
    with calls_end_by(time.monotonic() + LIMITS.max_try_s()), pytest.raises(CallDeadlinePassed):
        calls[service]()

    assert hanging.connections() == 0


def test_a_call_is_not_tried_again_when_the_rest_of_the_time_is_too_short(
    hanging: CountingServer, aws: Aws
) -> None:
    client = aws.sqs()
    enough_for_one_try = time.monotonic() + LIMITS.max_try_s() + LIMITS.read_timeout_s / 2
    with calls_end_by(enough_for_one_try), pytest.raises(CallDeadlinePassed):
        client.get_queue_attributes(QueueUrl=hanging.url)

    assert hanging.connections() == 1


def test_the_deadline_ends_with_its_block(hanging: CountingServer, aws: Aws) -> None:
    with calls_end_by(time.monotonic()):
        pass
    with pytest.raises(ReadTimeoutError):
        aws.sqs().get_queue_attributes(QueueUrl=hanging.url)


def test_a_passed_deadline_is_an_outage_of_the_service(hanging: CountingServer, aws: Aws) -> None:
    queue = TaskQueue(aws.sqs(), url=hanging.url)
    with calls_end_by(time.monotonic()), pytest.raises(QueueUnavailable, match="CallDeadline"):
        queue.send(envelope("1", request_id="r"))
