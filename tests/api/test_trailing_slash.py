import pytest

from tests.api.conftest import URL, Api

TASK = "/tasks/6e1f7a4e-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    ("method", "path", "location"),
    [
        ("POST", "/tasks/", "/tasks"),
        ("GET", f"{TASK}/", TASK),
        ("GET", f"{TASK}/result/", f"{TASK}/result"),
        ("POST", f"{TASK}/cancel/", f"{TASK}/cancel"),
        ("GET", "/operations/", "/operations"),
        ("GET", "/operations/?a=1&b=%2F", "/operations?a=1&b=%2F"),
        ("GET", "/tasks/%0d%0aX-Evil:%20yes/", "/tasks/%0D%0AX-Evil%3A%20yes"),
    ],
)
def test_a_trailing_slash_is_redirected_to_the_route_with_the_same_method(
    api: Api, method: str, path: str, location: str
) -> None:
    response = api.call(method, path, key=None)

    assert response.status_code == 308
    assert response.headers["Location"] == location


def test_a_client_that_follows_redirects_submits_as_usual(api: Api) -> None:
    response = api.post("/tasks/", json={"inputImageUrl": URL}, follow_redirects=True)

    assert response.status_code == 201


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "//"),
        ("GET", "//evil.example/"),
        ("GET", "/evil.example/"),
        ("GET", "/tasks//"),
        ("PUT", "/tasks/"),
        ("GET", "/nothing/"),
    ],
)
def test_a_path_that_means_no_route_is_not_redirected(api: Api, method: str, path: str) -> None:
    response = api.call(method, path, headers={"Host": "evil.example"})

    assert response.status_code in {404, 405}
    assert "Location" not in response.headers
