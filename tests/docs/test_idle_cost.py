"""The bill of an idle month, reckoned by hand for a few lines."""

from collections.abc import Mapping

import pytest

from cdk.template.templates import Templates
from docs.generator.idle_cost import idle_month
from docs.generator.prices import Prices

PRICES = Prices.read()


def bill(deployment: Templates) -> dict[str, float]:
    return {line.item: line.usd for line in idle_month(deployment, PRICES)}


def test_an_idle_month_of_dev_has_no_worker_and_no_gateway(dev: Templates) -> None:
    assert not {"workers on demand", "workers on Spot", "NAT gateways"} & set(bill(dev))


def test_containers_are_paid_by_size_and_hour(standard: Templates) -> None:
    # Two containers of half a vCPU and 1 GB for 730 hours.
    assert bill(standard)["API containers"] == pytest.approx(
        2 * 730 * (0.5 * 0.04048 + 1 * 0.004445)
    )


def test_the_reconciler_is_paid_by_started_minute(standard: Templates) -> None:
    # Every five minutes: 8,760 runs, of which each is billed as a minute.
    assert bill(standard)["reconciler"] == pytest.approx(
        8_760 / 60 * (0.25 * 0.04048 + 0.5 * 0.004445)
    )


def test_endpoints_are_paid_in_each_zone(private: Templates) -> None:
    assert bill(private)["interface endpoints"] == pytest.approx(5 * 2 * 730 * 0.01)


def test_every_public_address_is_paid(dev: Templates, standard: Templates) -> None:
    # Two of the load balancer; in dev each API container's and a fifth of the time a reconciler's,
    # in standard each gateway's.
    assert bill(dev)["public IPv4 addresses"] == pytest.approx((2 + 2 + 0.2) * 730 * 0.005)
    assert bill(standard)["public IPv4 addresses"] == pytest.approx((2 + 2) * 730 * 0.005)


def test_a_worker_that_always_runs_is_on_demand(standard: Templates) -> None:
    assert bill(standard)["workers on demand"] == pytest.approx(730 * (2 * 0.04048 + 4 * 0.004445))
    assert "workers on Spot" not in bill(standard)


def test_the_more_private_the_dearer(deployments: Mapping[str, Templates]) -> None:
    totals = [sum(bill(deployments[name]).values()) for name in ("dev", "standard", "private")]

    assert totals == sorted(totals)


def test_every_price_has_a_source() -> None:
    assert [
        name for name, price in PRICES.by_name.items() if "https://" not in price["source"]
    ] == []
