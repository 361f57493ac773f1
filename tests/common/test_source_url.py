"""The URL parser that the API and the fetcher share."""
# ruff: noqa: RUF001 - look-alike characters are tested

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.source_url import MAX_LENGTH, SourceUrl
from tests.worker.fetching.address_forms import HOSTILE_URLS, PUBLIC_URLS


@pytest.mark.parametrize("text", PUBLIC_URLS)
def test_a_public_image_url_is_accepted(text: str) -> None:
    assert SourceUrl.parse(text).host


@pytest.mark.parametrize("text", HOSTILE_URLS)
def test_an_ambiguous_url_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"^The URL.*\.$"):
        SourceUrl.parse(text)


@pytest.mark.parametrize(
    ("text", "scheme", "authority", "port", "target"),
    [
        ("http://example.com", "http", "example.com", 80, "/"),
        ("HTTP://EXAMPLE.com/A.Jpg", "http", "example.com", 80, "/A.Jpg"),
        ("https://example.com:443/a", "https", "example.com", 443, "/a"),
        ("https://example.com:80/a", "https", "example.com:80", 80, "/a"),
        ("http://example.com:/a", "http", "example.com", 80, "/a"),
        ("http://example.com:08080/", "http", "example.com:8080", 8080, "/"),
        ("http://example.com./", "http", "example.com", 80, "/"),
        ("http://example.com?q", "http", "example.com", 80, "/?q"),
        ("http://example.com/?", "http", "example.com", 80, "/?"),
        ("http://example.com#f", "http", "example.com", 80, "/"),
        ("http://example.com/a?b#c?d", "http", "example.com", 80, "/a?b"),
        ("http://example.com/a%20b%2F..//c/../d", "http", "example.com", 80, "/a%20b%2F..//c/../d"),
        ("http://example.com/ä?ö=ü", "http", "example.com", 80, "/%C3%A4?%C3%B6=%C3%BC"),
        ("http://my_bucket.example.com/", "http", "my_bucket.example.com", 80, "/"),
        ("http://BÜCHER.example/", "http", "xn--bcher-kva.example", 80, "/"),
        ("http://straße.example/", "http", "xn--strae-oqa.example", 80, "/"),
        ("http://bücher。example/", "http", "xn--bcher-kva.example", 80, "/"),
        ("http://8.8.8.8./", "http", "8.8.8.8", 80, "/"),
        ("http://[2606:4700::0:1111]:81/a", "http", "[2606:4700::1111]:81", 81, "/a"),
    ],
)
def test_a_url_is_parsed_into_the_parts_of_the_request(
    text: str, scheme: str, authority: str, port: int, target: str
) -> None:
    url = SourceUrl.parse(text)
    assert (url.scheme, url.authority, url.port, url.target) == (scheme, authority, port, target)


def test_an_ip_address_host_is_recognized() -> None:
    assert SourceUrl.parse("http://8.8.8.8/").address == IPv4Address("8.8.8.8")
    assert SourceUrl.parse("http://[::1]/").address == IPv6Address("::1")
    assert SourceUrl.parse("http://[::1]/").host == "::1"
    assert SourceUrl.parse("http://example.com/").address is None


@pytest.mark.parametrize("host", ["①②⑦.⓪.⓪.①", "１２７。０。０。１", "127.0.0.1."])
def test_a_disguised_ip_address_is_recognized(host: str) -> None:
    assert SourceUrl.parse(f"http://{host}/").address == IPv4Address("127.0.0.1")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("http://example.com/" + "a" * MAX_LENGTH, "longer than 8,192 characters"),
        ("http://example.com/a b", "spaces"),
        ("http://example.com/\t", "control characters"),
        ("http://example.com/a\\b", "backslashes"),
        ("http://example.com/\ud800", "control characters"),
        ("example.com/a.jpg", "start with http:// or https://"),
        ("ftp://example.com/", "start with http:// or https://"),
        ("http:example.com", "name a host"),
        ("http:///a.jpg", "name a host"),
        ("http://?a", "name a host"),
        ("http://user@example.com/", "user name or a password"),
        ("http://:secret@example.com/", "user name or a password"),
        ("http://@example.com/", "user name or a password"),
        ("http://example.com:0/", "from 1 to 65535"),
        ("http://example.com:65536/", "from 1 to 65535"),
        ("http://example.com:99999999999/", "from 1 to 65535"),
        ("http://example.com:80:80/", "from 1 to 65535"),
        ("http://example.com:-1/", "from 1 to 65535"),
        ("http://example.com:٨٠/", "from 1 to 65535"),
        ("http://example.com:http/", "from 1 to 65535"),
        ("http://:80/", "host must be"),
        ("http://example..com/", "host must be"),
        ("http://exa$mple.com/", "host must be"),
        ("http://example.com%2f.evil.example/", "host must be"),
        ("http://" + "a" * 64 + ".example/", "host must be"),
        ("http://" + "a." * 127 + "example/", "host must be"),
        ("http://" + "ä" * 300 + "/", "host must be"),
        ("http://☃.example/", "host must be"),
        ("http://2130706433/", "host must be"),
        ("http://127.1/", "host must be"),
        ("http://0x7f.0.0.1/", "host must be"),
        ("http://0177.0.0.1/", "host must be"),
        ("http://example.123/", "host must be"),
        ("http://[127.0.0.1]/", "host must be"),
        ("http://[::1/", "host must be"),
        ("http://::1/", "from 1 to 65535"),
        ("http://[fe80::1%25eth0]/", "IPv6 zone"),
    ],
)
def test_a_rejected_url_gets_a_one_sentence_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"^The URL.*\.$") as rejection:
        SourceUrl.parse(text)
    assert reason in str(rejection.value)


def test_a_url_of_maximum_length_is_accepted() -> None:
    start = "http://example.com/"
    url = SourceUrl.parse(start + "a" * (MAX_LENGTH - len(start)))
    assert len(url.target) == MAX_LENGTH - len(start) + 1


def test_neither_errors_nor_repr_contain_secrets() -> None:
    with pytest.raises(ValueError, match="user name") as rejection:
        SourceUrl.parse("http://user:s3cret@example.com/?token=s3cret")
    assert "s3cret" not in str(rejection.value)
    assert "s3cret" not in repr(SourceUrl.parse("http://example.com/p?token=s3cret"))


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/b.jpg", "http://example.com:8080/b.jpg"),
        ("b.jpg?x=1", "http://example.com:8080/dir/b.jpg?x=1"),
        ("../b.jpg", "http://example.com:8080/b.jpg"),
        ("?x=2", "http://example.com:8080/dir/a.jpg?x=2"),
        ("//other.example/b", "http://other.example/b"),
        ("https://other.example/b", "https://other.example/b"),
        ("/with space", "http://example.com:8080/with%20space"),
        ("/k\xc3\xa4se", "http://example.com:8080/k%C3%A4se"),  # UTF-8, decoded as ISO 8859-1
        ("/k\xe4se", "http://example.com:8080/k%E4se"),
    ],
)
def test_a_redirect_is_resolved_against_its_base_url(location: str, expected: str) -> None:
    base = SourceUrl.parse("http://example.com:8080/dir/a.jpg?x=1#f")
    assert base.join(location) == SourceUrl.parse(expected)


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "//user@127.0.0.1/",
        "http://127.0.0.1\t/",
        "http://127.0.0.1\\@example.com/",
        "\\\\127.0.0.1\\a",
        "http://[::1%25lo]/",
        "http://[::1/",
        "http://2130706433/",
        "/" + "a" * MAX_LENGTH,
    ],
)
def test_a_redirect_is_parsed_as_strictly_as_a_submission(location: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        SourceUrl.parse("http://example.com/").join(location)


def test_a_redirect_may_be_as_long_as_a_submission() -> None:
    target = "/" + "a" * (MAX_LENGTH - len("http://example.com/"))
    assert SourceUrl.parse("http://example.com/").join(target).target == target


authorities = st.text(st.sampled_from("aZ09.-_:[]@%\\/?#１ä①xX\t٣。"), max_size=30)


paths = st.text(max_size=500)  # percent-encoded, still within the maximum length


@given(st.one_of(paths, st.builds("http://{}/{}".format, authorities, paths)))
def test_any_text_is_rejected_or_safe_to_send(text: str) -> None:
    try:
        url = SourceUrl.parse(text)
    except ValueError:
        return
    assert url.scheme in {"http", "https"}
    assert all(character.isalnum() or character in ".-_:" for character in url.host)
    assert url.host.isascii()
    assert url.target.startswith("/")
    assert url.target.isascii()
    assert url.target.isprintable()
    assert " " not in url.target
    assert SourceUrl.parse(f"{url.scheme}://{url.authority}{url.target}") == url
