"""Notations of private addresses in hosts and URLs, and public ones that must stay permitted.

Several tests and the figures in the docs use this data.
"""
# ruff: noqa: RUF001 - characters that look alike are the point

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Address

BLOCKED_ADDRESSES = {
    "loopback": "127.0.0.1 127.0.0.2 127.255.255.254 ::1",
    "unspecified and this network": "0.0.0.0 0.0.0.1 0.255.255.255 ::",
    "private use": "10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 192.168.255.255",
    "link-local, with the metadata services of most clouds": (
        "169.254.0.1 169.254.169.254 169.254.170.2 169.254.170.23 169.254.169.253 169.254.169.123 "
        "fe80::1 fe80::1%eth0 febf:ffff::1 fe80::a9fe:a9fe"
    ),
    "carrier-grade NAT, with Alibaba's metadata": "100.64.0.1 100.127.255.255 100.100.100.200",
    "IETF protocol assignments, with Oracle's metadata": (
        "192.0.0.1 192.0.0.8 192.0.0.9 192.0.0.10 192.0.0.170 192.0.0.192 2001:1::1 2001:100::1"
    ),
    "Azure's host": "168.63.129.16",
    "documentation": "192.0.2.1 198.51.100.1 203.0.113.1 2001:db8::1 3fff::1 3fff:fff::1",
    "benchmarking": "198.18.0.1 198.19.255.255 2001:2::1",
    "deprecated relays and identifiers": "192.88.99.1 192.88.99.2 2001:10::1 2001:20::1 2001:30::1",
    "multicast": "224.0.0.1 239.255.255.250 239.255.255.255 ff02::1 ff05::2 ff0e::1",
    "reserved and broadcast": "240.0.0.1 250.1.2.3 255.255.255.254 255.255.255.255",
    "unique-local, with AWS's services": "fc00::1 fd00::1 fd00:ec2::254 fd00:ec2::253 fdff::1",
    "site-local": "fec0::1 feff:ffff::1",
    "discard, dummy and segment routing": "100::1 100:0:0:1::1 5f00::1",
    "never allocated": "200::1 400::1 1000::1 4000::1 6000::1 8000::1 c000::1 fe00::1",
    "IPv4-mapped": "::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.170.2 ::ffff:0.0.0.0",
    "IPv4-compatible": "::127.0.0.1 ::169.254.170.2 ::10.0.0.1",
    "SIIT": "::ffff:0:127.0.0.1 ::ffff:0:169.254.170.2 ::ffff:0:8.8.8.8",
    "NAT64": "64:ff9b::127.0.0.1 64:ff9b::169.254.170.2 64:ff9b::10.0.0.1",
    "local-use NAT64": (
        "64:ff9b:1::127.0.0.1 64:ff9b:1::169.254.170.2 64:ff9b:1:a9fe:aa:200:: 64:ff9b:1::8.8.8.8"
    ),
    "6to4": "2002:7f00:1:: 2002:a9fe:aa02::1 2002:a00:1::1 2002:c0a8:1::1",
    "Teredo": (  # stores the client inverted; in the last one, the server is private
        "2001:0:808:808::80ff:fffe 2001:0:808:808::5601:55fd 2001:0:a9fe:aa02::f7f7:f7f7"
    ),
    "ISATAP": (
        "2001:4860:4860::5efe:127.0.0.1 2001:4860:4860::5efe:169.254.170.2 "
        "2001:4860:4860::200:5efe:10.0.0.1 fe80::5efe:8.8.8.8"
    ),
}

PERMITTED_ADDRESSES = {
    "IPv4": "8.8.8.8 1.1.1.1 93.184.216.34 52.95.110.1 223.255.255.254 1.0.0.1 9.255.255.255",
    "around the private ranges": (
        "11.0.0.0 126.255.255.255 128.0.0.1 100.63.255.255 100.128.0.0 169.253.255.255 169.255.0.0 "
        "172.15.255.255 172.32.0.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 "
        "192.0.1.0 192.0.3.0 191.255.255.255 203.0.112.255 203.0.114.0 168.63.129.15 168.63.129.17"
    ),
    "IPv6": (
        "2001:4860:4860::8888 2606:4700:4700::1111 2a00:1450:4001:81b::200e 2600:9000::1 "
        "2001:200::1 2001:db7:ffff::1 2001:db9::1 2400:cb00::1 2c0f:fb50::1 2003::1 3ffe:831f::1"
    ),
    "IPv4-mapped": "::ffff:8.8.8.8 ::ffff:93.184.216.34",
    "NAT64 of an IPv6-only network": "64:ff9b::8.8.8.8 64:ff9b::93.184.216.34",
    "6to4 and Teredo": "2002:808:808::1 2001:0:808:808::f7f7:f7f7",
    "ISATAP": "2001:4860:4860::200:5efe:8.8.8.8",
    "similar to ISATAP": "2001:4860:4860::5eff:127.0.0.1 2001:4860:4860::1:5efe:127.0.0.1",
}

_NOT_PUBLIC = """
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
    192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24
    224.0.0.0/4 240.0.0.0/4 168.63.129.16/32
"""
NOT_PUBLIC = [IPv4Network(network) for network in _NOT_PUBLIC.split()]
"""IANA's special-purpose IPv4 networks, and the public address of Azure's hosts."""

EMBEDDINGS: dict[str, Callable[[int], int]] = {
    "IPv4-compatible": lambda ipv4: ipv4,
    "IPv4-mapped": lambda ipv4: 0xFFFF << 32 | ipv4,
    "SIIT": lambda ipv4: 0xFFFF << 48 | ipv4,
    "NAT64": lambda ipv4: int(IPv6Address("64:ff9b::")) | ipv4,
    "local-use NAT64, /96": lambda ipv4: int(IPv6Address("64:ff9b:1::")) | ipv4,
    "local-use NAT64, /48": lambda ipv4: (
        int(IPv6Address("64:ff9b:1::")) | (ipv4 >> 16) << 64 | (ipv4 & 0xFFFF) << 40
    ),
    "6to4": lambda ipv4: 0x2002 << 112 | ipv4 << 80 | 1,
    "Teredo client": lambda ipv4: 0x20010000_08080808 << 64 | ipv4 ^ 0xFFFFFFFF,
    "Teredo server": lambda ipv4: 0x20010000 << 96 | ipv4 << 64 | 0xF7F7F7F7,
    "ISATAP": lambda ipv4: int(IPv6Address("2001:4860:4860::5efe:0:0")) | ipv4,
    "ISATAP, universal": lambda ipv4: int(IPv6Address("2001:4860:4860::200:5efe:0:0")) | ipv4,
}
"""Functions that embed an IPv4 address in an IPv6 address, both as numbers."""

HOSTILE_HOSTS = {
    "plain": "127.0.0.1 127.0.0.2 0.0.0.0 10.0.0.1 192.168.1.1 172.16.0.1 169.254.170.2",
    "decimal": "2130706433 2852039166 0",
    "octal": "0177.0.0.1 017700000001 0177.0000.0000.0001 0251.0376.0252.0002 00000177.0.0.1",
    "hexadecimal": "0x7f.0.0.1 0x7f000001 0x7F.0x0.0x0.0x1 0xa9.0xfe.0xaa.0x02 0xa9feaa02 0x",
    "short": "127.1 127.0.1 127.65530 169.254.43522 0x7f.1 0177.1 10.1",
    "mixed and overflowing": "0x7f.0.1 0177.0.0x1 127.0.0.0x1 4294967297 127.0.0.257 1.2.3.4.5",
    "leading zeros": "127.000.000.001 010.0.0.1 127.0.0.01",
    "trailing dots": "127.0.0.1. 169.254.170.2. 127.0.0.1.. 2130706433. localhost.",
    "names": "localhost LOCALHOST localhost.localdomain",
    "full-width digits": "１２７.０.０.１ １６９。２５４。１７０。２ 127．0．0．1 127。0。0。1",
    "circled digits and letters": "①②⑦.⓪.⓪.① ①⑥⑨.②⑤④.①⑦⓪.② ⓛⓞⓒⓐⓛⓗⓞⓢⓣ ㉑㉚㉗0㊻㊸㉝",
    "other scripts' digits": "१२७.०.०.१ ١٢٧.٠.٠.١ 𝟏𝟐𝟕.𝟎.𝟎.𝟏",
    "super- and subscript": "¹²⁷.⁰.⁰.¹ ₁₂₇.₀.₀.₁",
    "IPv6": (
        "[::1] [::] [0:0:0:0:0:0:0:1] [0000::0001] [fe80::1] [fec0::1] [fd00:ec2::254] [ff02::1]"
    ),
    "IPv4-mapped": "[::ffff:127.0.0.1] [::ffff:7f00:1] [::FFFF:169.254.170.2] [::ffff:0:0]",
    "IPv4-compatible": "[::127.0.0.1] [::7f00:1] [::a9fe:aa02]",
    "SIIT": "[::ffff:0:127.0.0.1] [::ffff:0:a9fe:aa02]",
    "NAT64": "[64:ff9b::127.0.0.1] [64:ff9b::a9fe:aa02] [64:ff9b:1::a9fe:aa02]",
    "6to4, Teredo and ISATAP": (
        "[2002:7f00:1::] [2002:a9fe:aa02::] [2001:0:808:808::80ff:fffe] "
        "[2001:4860:4860::5efe:a9fe:aa02]"
    ),
    "zones": "[fe80::1%eth0] [fe80::1%25eth0] [::1%lo] [::1%25lo] [::1%] 127.0.0.1%lo 127.0.0.1%25",
    "broken brackets": "[127.0.0.1] [::1]. [::1]x x[::1] [::1 ::1 [localhost] [v1.127.0.0.1] []",
    "user information": (
        "example.com@127.0.0.1 example.com:80@127.0.0.1 user:secret@127.0.0.1 @127.0.0.1 "
        "127.0.0.1@example.com example.com%40127.0.0.1 example.com%2540@127.0.0.1 a@b@127.0.0.1"
    ),
    "percent-encoded": "%31%32%37.0.0.1 127%2e0%2e0%2e1 %6cocalhost localhost%00.example.com",
    "backslashes": (
        r"127.0.0.1\@example.com example.com\@127.0.0.1 example.com\.127.0.0.1 \127.0.0.1"
    ),
    "invisible": "127.0.0.1\u200b l\u00adocalhost local\u2060host \ufefflocalhost 127.0.0.1\u202e",
    "empty": ". .. -. .127.0.0.1",
}
"""Hosts that some parser reads as a private address or as this machine."""

HOSTILE_URLS = (
    "http://127.0.0.1\t:80/",
    "http://127.0.0.1\n/",
    "http://127.0.0.1\r\nHost: example.com/",
    "http://\t127.0.0.1/",
    "http://example.com \n@127.0.0.1/",
    "ht\ntp://127.0.0.1/",
    " http://127.0.0.1/",
    "http://127.0.0.1 /",
    "http://127.0.0.1\x00.example.com/",
    "http://127.0.0.1\x7f/",
    "http://example.com#@127.0.0.1:x@/\\",
    "http:127.0.0.1",
    "http:/127.0.0.1/",
    "http:///127.0.0.1/",
    "http:\\\\127.0.0.1\\",
    "http://",
    "//127.0.0.1/",
    "127.0.0.1",
    "",
    "file:///etc/passwd",
    "file://127.0.0.1/etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "ftp://127.0.0.1/",
    "dict://127.0.0.1:11211/stat",
    "ldap://127.0.0.1/",
    "jar:http://127.0.0.1!/",
    "data:image/png;base64,iVBORw0KGgo=",
    "javascript:alert(1)",
    "unix:///var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
    "url:http://127.0.0.1/",
    "view-source:http://127.0.0.1/",
    "ｈttp://127.0.0.1/",
)
"""URLs that must never be fetched."""

PUBLIC_URLS = (
    "http://example.com",
    "https://example.com/",
    "HTTPS://EXAMPLE.COM/Picture.JPG",
    "http://example.com./a.png",
    "http://example.com:80/a.png",
    "https://example.com:443/a.png",
    "http://example.com:/a.png",
    "https://upload.wikimedia.org/wikipedia/commons/3/3f/Fronalpstock_big.jpg",
    "https://bucket.s3.eu-central-1.amazonaws.com/a%20b.jpg?X-Amz-Signature=0a1b&X-Amz-Expires=60",
    "https://my_bucket.s3.amazonaws.com/image.png",
    "https://d111111abcdef8.cloudfront.net/p.webp?size[]=1&fit=a|b",
    "https://sub-domain--with-hyphens.example.co.uk/a.jpg",
    "https://1and1.com/a.jpg",
    "https://4chan.example/0x7f.jpg",
    "https://127.0.0.1.nip.example/",
    "https://0x7f.example/",
    "https://10.0.0.1.example.com/",
    "https://localhost.example.com/",
    "https://bücher.example/käse.jpg",
    "https://xn--bcher-kva.example/k%C3%A4se.jpg",
    "https://日本語.jp/写真.png?名=値",
    "https://пример.рф/",
    "https://münchen。example/",
    "https://example.com/a.jpg#fragment@127.0.0.1",
    "https://example.com/@user/a.jpg",
    "https://example.com/a.jpg?next=http://127.0.0.1/",
    "https://example.com/a:b;c=d,e/(1)/~x/'q'/a+b.jpg?x=y&&z=%2F",
    "https://example.com/a//b/../c.png",
    "https://example.com?query-without-path",
    "http://8.8.8.8/",
    "http://93.184.216.34/a.png",
    "http://[2606:4700:4700::1111]/a.png",
    "http://[2001:4860:4860:0:0:0:0:8888]/",
    "http://[2606:4700:4700::1111]:80/",
    "http://[::ffff:8.8.8.8]/",
    "http://[64:ff9b::808:808]/",
)
"""URLs of public images, which must not be rejected before the lookup."""


def forms_of(classes: dict[str, str]) -> list[str]:
    """The notations of all classes in one list."""
    return [form for forms in classes.values() for form in forms.split()]
