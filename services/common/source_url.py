"""The URL of an image, with one strict parser for the API and the fetcher.

If the check and the request parsed a URL differently, an attacker could pass the check with one URL
and make us request another. So the parts parsed here are the ones that the fetcher connects to and
sends; the text is never parsed a second time.
"""

import re
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from string import punctuation
from typing import Self
from urllib.parse import quote, urljoin

import idna

MAX_LENGTH = 8_192
"""Maximum length of a submitted URL or of a redirect's target, in characters. Presigned URLs with
session tokens have thousands. RFC 9110 §4.1 recommends at least 8,000."""
MAX_HOST_LENGTH = 253
"""255 octets (RFC 1035 §2.3.4), minus a length octet and the root, which are not written."""

DEFAULT_PORTS = {"http": 80, "https": 443}

_URL = re.compile(  # RFC 3986 appendix B, limited to two schemes and a non-empty authority
    r"(?P<scheme>https?)://(?P<authority>[^/?#]+)(?P<path>[^?#]*)(?P<query>\?[^#]*)?(?:#.*)?",
    re.IGNORECASE | re.ASCII,
)
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>.*))?")
_PORT = re.compile(r"[0-9]{0,5}")
_DOMAIN = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}")
_ENDS_IN_A_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
"""The URL standard treats such a host as an IPv4 address, and so may the system's resolver."""

_TOO_LONG = f"The URL must not be longer than {MAX_LENGTH:,} characters."
_BAD_HOST = (
    "The URL's host must be a domain name, an IPv4 address of four decimal numbers or an IPv6 "
    "address in brackets."
)


@dataclass(frozen=True, slots=True)
class SourceUrl:
    """A parsed http or https URL. Its ``repr`` omits the target, which may contain secrets."""

    scheme: str
    host: str
    """In lower-case ASCII, as used for DNS, TLS and the Host header. IPv6 without brackets."""
    port: int
    target: str = field(repr=False)
    """Path and query, as sent in the request line."""
    address: IPv4Address | IPv6Address | None
    """The host, if it is an IP address and not a name."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a URL. Raises ValueError with one sentence that repeats none of it.

        This does not check whether the port and the address are allowed. The fetcher does, when it
        connects.
        """
        if len(text) > MAX_LENGTH:
            raise ValueError(_TOO_LONG)
        if not text.isprintable() or " " in text or "\\" in text:
            raise ValueError(
                "The URL must not contain spaces, backslashes or control characters; "
                "percent-encode them."
            )
        url = _URL.fullmatch(text)
        if url is None:
            raise ValueError("The URL must start with http:// or https:// and name a host.")
        scheme = url["scheme"].lower()
        host, port = _split_authority(url["authority"])
        name, address = _read_host(host)
        path_and_query = (url["path"] or "/") + (url["query"] or "")
        return cls(
            scheme=scheme,
            host=name,
            port=DEFAULT_PORTS[scheme] if port is None else port,
            target=quote(path_and_query, safe=punctuation),
            address=address,
        )

    def join(self, reference: str) -> Self:
        """Resolve a ``Location`` header against this URL. Raises ValueError as ``parse`` does.

        Python decodes the header as ISO 8859-1. Percent-encoding each character therefore keeps the
        octets that the server sent, as browsers do.
        """
        encoded = quote(reference, safe=punctuation, encoding="latin-1")
        if len(encoded) > MAX_LENGTH:  # before joining, whose cost grows with length
            raise ValueError(_TOO_LONG)
        try:
            joined = urljoin(f"{self.scheme}://{self.authority}{self.target}", encoded)
        except ValueError:
            raise ValueError(_BAD_HOST) from None  # the cause would quote the URL
        return self.parse(joined)

    @property
    def authority(self) -> str:
        """Host and port as in the Host header, which omits the scheme's default port."""
        host = f"[{self.host}]" if isinstance(self.address, IPv6Address) else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def _split_authority(authority: str) -> tuple[str, int | None]:
    if "@" in authority:
        raise ValueError("The URL must not contain a user name or a password.")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise ValueError(_BAD_HOST)
    port = parts["port"]
    if not port:
        return parts["host"], None
    if not _PORT.fullmatch(port) or not 0 < int(port) < 2**16:
        raise ValueError("The URL's port must be a number from 1 to 65535.")
    return parts["host"], int(port)


def _read_host(host: str) -> tuple[str, IPv4Address | IPv6Address | None]:
    try:
        if host.startswith("["):
            address = _read_ipv6(host[1:-1])
            return str(address), address
        name = _to_ascii(host).removesuffix(".")
        if not _DOMAIN.fullmatch(name) or len(name) > MAX_HOST_LENGTH:
            raise ValueError(_BAD_HOST)
        if _ENDS_IN_A_NUMBER.fullmatch(name):
            # Rejects 127.1, 0x7f000001 and 017700000001, which inet_aton accepts as addresses.
            return name, IPv4Address(name)
    except (AddressValueError, idna.IDNAError):
        raise ValueError(_BAD_HOST) from None  # the cause would quote the URL
    return name, None


def _read_ipv6(text: str) -> IPv6Address:
    address = IPv6Address(text)
    if address.scope_id is not None:
        raise ValueError("The URL's host must not have an IPv6 zone.")
    return address


def _to_ascii(host: str) -> str:
    if host.isascii():
        return host.lower()
    if len(host) > MAX_HOST_LENGTH:  # before the mapping, whose cost grows with length
        raise ValueError(_BAD_HOST)
    return idna.encode(host, uts46=True).decode("ascii").lower()
