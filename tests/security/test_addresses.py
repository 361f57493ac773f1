"""A short run of what `make security` does with addresses, and that it would notice."""

from ipaddress import ip_network

from tests.security.addresses import REDIRECTORS_NETWORK, try_addresses


def test_no_form_is_reached_and_no_public_one_refused() -> None:
    found = try_addresses(wrapped=10, seed=7)

    assert found.tried > 800
    assert found.public_tried > 200
    assert found.reached == found.public_refused == []


def test_an_address_that_is_let_through_would_be_noticed() -> None:
    hole = ip_network("169.254.170.0/24")
    found = try_addresses(wrapped=0, seed=7, networks=(REDIRECTORS_NETWORK, hole))

    assert "http://169.254.170.2/ (127.0.0.1)" in found.reached
    assert "http://photos.example/ (169.254.170.2)" in found.reached
    assert "redirect to http://169.254.170.2/" in found.reached
