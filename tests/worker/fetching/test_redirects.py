"""The targets of redirects and their number."""

import pytest

from services.common.errors import (
    SourceAddressBlocked,
    SourceNeedsCookies,
    SourceRefused,
    SourceTooManyRedirects,
    SourceUrlInvalid,
)
from tests.worker.fetching.fetch_harness import IMAGE, fetch, fetch_error, fetcher_for
from tests.worker.fetching.loopback_source import ok, redirect, response_head, serving


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(status: int) -> None:
    with serving(redirect("../b.png?x=1", status), ok(IMAGE)) as source:
        assert fetch(fetcher_for(source), source.url("/dir/a.png")) == IMAGE
    assert source.requests[1].startswith(b"GET /b.png?x=1 HTTP/1.1\r\n")


def test_redirects_are_followed_to_the_limit_and_no_further() -> None:
    three = [redirect("/again")] * 3
    with serving(*three, ok(IMAGE)) as source:
        assert fetch(fetcher_for(source), source.url()) == IMAGE
    with serving(*three, redirect("/again"), ok(IMAGE)) as source:
        assert isinstance(fetch_error(fetcher_for(source), source.url()), SourceTooManyRedirects)
    assert source.connections == 4


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.170.2/v2/credentials/s3cret",
        "//169.254.170.2/v2/credentials/s3cret",
        "http://[::ffff:169.254.170.2]/",
        "http://127.0.0.2./",
    ],
)
def test_a_redirect_to_a_private_address_is_rejected(location: str) -> None:
    with serving(redirect(location)) as source:
        error = fetch_error(fetcher_for(source, ports=[80]), source.url())
    assert isinstance(error, SourceAddressBlocked)


def test_a_redirect_to_a_private_server_never_connects() -> None:
    with (
        serving(ok(b"private"), host="127.0.0.2") as trap,
        serving(redirect(trap.url(host="127.0.0.2"))) as source,
    ):
        error = fetch_error(fetcher_for(source, trap), source.url())
    assert isinstance(error, SourceAddressBlocked)
    assert trap.connections == 0


def test_a_redirect_to_a_port_that_is_not_allowed_never_connects() -> None:
    with serving(ok(b"private")) as trap, serving(redirect(trap.url())) as source:
        error = fetch_error(fetcher_for(source), source.url())
    assert isinstance(error, SourceAddressBlocked)
    assert "port" in str(error)
    assert trap.connections == 0


def test_a_redirect_that_needs_cookies_is_named_at_once() -> None:
    first = response_head(302, "Location: /image.png?check=1", "Set-Cookie: a=1")
    with serving(first, redirect("/image.png")) as source:
        error = fetch_error(fetcher_for(source), source.url())
    assert isinstance(error, SourceNeedsCookies)
    assert "cookie" in str(error)
    assert source.connections == 2


def test_a_cookie_on_a_redirect_that_leads_to_the_image_does_no_harm() -> None:
    first = response_head(302, "Location: /b.png", "Set-Cookie: a=1")
    with serving(first, ok(IMAGE)) as source:
        assert fetch(fetcher_for(source), source.url()) == IMAGE


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "ftp://127.0.0.1/",
        "http://user:s3cret@127.0.0.1/",
        "http://127.0.0.1\\@example.com/",
        "http://2130706433/",
    ],
)
def test_a_redirect_to_an_invalid_url_is_rejected(location: str) -> None:
    with serving(redirect(location)) as source:
        assert isinstance(fetch_error(fetcher_for(source), source.url()), SourceUrlInvalid)


def test_a_redirect_without_a_target_is_rejected() -> None:
    with serving(response_head(302, "Content-Length: 0")) as source:
        assert isinstance(fetch_error(fetcher_for(source), source.url()), SourceRefused)
