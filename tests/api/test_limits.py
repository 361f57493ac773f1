"""GET /limits: the limits that clients see are those that are enforced."""

import json
from typing import Any

import pytest

from services.worker.imaging.limits import ImagingLimits
from tests.api.conftest import URL, Api, MakeApi


@pytest.fixture
def limits(api: Api) -> Any:
    return api.get("/limits").body


def submit(api: Api, **more: Any) -> int:
    return api.submit({"inputImageUrl": URL, **more}).status_code


def test_a_body_may_be_as_large_as_the_limit(api: Api, limits: Any) -> None:
    body = json.dumps({"inputImageUrl": URL})
    for length, status in ((limits["maxBodyBytes"], 201), (limits["maxBodyBytes"] + 1, 413)):
        response = api.post("/tasks", data=body.ljust(length), content_type="application/json")
        assert response.status_code == status


def test_a_url_may_be_as_long_as_the_limit(api: Api, limits: Any) -> None:
    for length, status in ((limits["maxUrlLength"], 201), (limits["maxUrlLength"] + 1, 400)):
        assert submit(api, inputImageUrl=f"{URL}?".ljust(length, "x")) == status


def test_a_task_may_have_as_many_operations_as_the_limit(api: Api, limits: Any) -> None:
    for count, status in ((limits["maxOperations"], 201), (limits["maxOperations"] + 1, 400)):
        assert submit(api, operations=[{"name": "grayscale"}] * count) == status


def test_the_limits_of_images_are_those_of_the_worker(limits: Any) -> None:
    worker = ImagingLimits()

    assert limits["maxImagePixels"] == worker.max_pixels
    assert limits["maxResultPixels"] == worker.max_result_pixels
    assert limits["maxComputedPixels"] == worker.max_computed_pixels
    assert limits["maxResultBytes"] == worker.max_result_bytes


def test_settings_change_the_limits(make_api: MakeApi) -> None:
    settings = {
        "submissions_per_minute": 7,
        "max_body_bytes": 9_000,
        "fetch_max_bytes": 1_234,
        "imaging_max_pixels": 5_678,
        "deadline_s": 60,
        "row_retention_s": 90,
    }
    limits = make_api(settings=settings).get("/limits").body

    assert (
        limits.items()
        >= {
            "submissionsPerMinute": 7,
            "maxBodyBytes": 9_000,
            "maxImageBytes": 1_234,
            "maxImagePixels": 5_678,
            "maxTaskSeconds": 60,
            "resultRetentionSeconds": 90,
        }.items()
    )


def test_a_limit_that_does_not_exist_is_left_out(make_api: MakeApi) -> None:
    unlimited = make_api(settings={"submissions_per_minute": 0}).get("/limits").body

    assert "submissionsPerMinute" not in unlimited


def test_the_catalogue_and_the_document_tell_the_limits(api: Api, limits: Any) -> None:
    assert api.get("/operations").body["limits"] == limits
    document = api.get("/openapi.json").body
    assert "first frame or page" in document["info"]["description"]
    described = document["components"]["schemas"]["LimitsView"]["properties"]
    assert limits.keys() <= described.keys()
    assert all("description" in limit for limit in described.values())
