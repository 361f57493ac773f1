"""Calls from pages in a browser, which only allowed origins may make."""

import pytest

from tests.api.conftest import URL, Api, MakeApi

SHOP, OTHER = "https://shop.example", "https://other.example"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
}


@pytest.fixture
def api(make_api: MakeApi) -> Api:
    return make_api(settings={"api_cors_origins": (SHOP, "http://localhost:3000")})


@pytest.mark.parametrize("origin", [SHOP, "http://localhost:3000"])
@pytest.mark.parametrize("path", ["/tasks", "/tasks/1/cancel", "/operations"])
def test_a_preflight_of_an_allowed_origin_succeeds_without_a_key(
    api: Api, path: str, origin: str
) -> None:
    response = api.call("OPTIONS", path, key=None, headers={"Origin": origin, **PREFLIGHT})

    assert response.status_code == 204
    assert response.headers["Access-Control-Allow-Origin"] == origin
    assert "POST" in response.headers["Access-Control-Allow-Methods"]
    allowed = response.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert {"authorization", "content-type", "idempotency-key"} <= set(allowed)
    assert "Access-Control-Allow-Credentials" not in response.headers


@pytest.mark.parametrize(
    "origin", [OTHER, "null", f"{SHOP}.evil.example", "http://shop.example", f"{SHOP}:8443", ""]
)
def test_another_origin_is_not_allowed(api: Api, origin: str) -> None:
    preflight = api.call("OPTIONS", "/tasks", key=None, headers={"Origin": origin, **PREFLIGHT})
    actual = api.get("/operations", headers={"Origin": origin})

    assert (preflight.status_code, actual.status_code) == (405, 200)
    for response in (preflight, actual):
        assert "Access-Control-Allow-Origin" not in response.headers
        assert response.headers["Vary"] == "Origin"


def test_a_page_may_read_the_response_and_its_headers(api: Api) -> None:
    response = api.submit({"inputImageUrl": URL}, headers={"Origin": SHOP})

    assert response.status_code == 201
    assert response.headers["Access-Control-Allow-Origin"] == SHOP
    exposed = response.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"Location", "Retry-After", "X-Request-Id"} <= set(exposed)


@pytest.mark.parametrize("key", [None, "alice-1.wrong"])
def test_a_page_may_read_an_error(api: Api, key: str | None) -> None:
    response = api.get("/operations", key=key, headers={"Origin": SHOP})

    assert response.status_code == 401
    assert response.headers["Access-Control-Allow-Origin"] == SHOP


def test_a_page_still_needs_a_key(api: Api) -> None:
    assert api.submit(key=None, headers={"Origin": SHOP}).status_code == 401


def test_no_origin_is_allowed_by_default(make_api: MakeApi) -> None:
    response = make_api().call("OPTIONS", "/tasks", headers={"Origin": SHOP, **PREFLIGHT})

    assert response.status_code == 405
    assert not any(name.startswith("Access-Control") for name, _ in response.headers)
    assert "Vary" not in response.headers
