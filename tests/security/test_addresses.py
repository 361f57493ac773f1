"""A short run of the addresses of `make security`, and proof that it detects a hole."""

from ipaddress import ip_network

from tests.security.addresses import REDIRECTOR_NETWORK, try_addresses


def test_no_private_address_is_reached_and_no_public_one_is_refused() -> None:
    figures = try_addresses(wrapped=10, seed=7)

    assert figures.tried > 800
    assert figures.public_tried > 200
    assert figures.reached == figures.public_refused == []


def test_a_permitted_private_address_is_reported() -> None:
    hole = ip_network("169.254.170.0/24")
    figures = try_addresses(wrapped=0, seed=7, networks=(REDIRECTOR_NETWORK, hole))

    assert "http://169.254.170.2/ (127.0.0.1)" in figures.reached
    assert "http://photos.example/ (169.254.170.2)" in figures.reached
    assert "redirect to http://169.254.170.2/" in figures.reached
