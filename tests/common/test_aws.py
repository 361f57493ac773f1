from urllib.parse import urlsplit

import boto3
import pytest

from services.common.aws import Aws
from services.common.result_bucket import ResultBucket

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
