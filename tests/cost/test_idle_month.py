"""The cost of an idle month, compared with calculations by hand."""

from collections.abc import Mapping

import pytest

from cdk.template.templates import Templates
from cost.idle_month import idle_month
from cost.prices import Prices

PRICES = Prices.read()


def costs(deployment: Templates) -> dict[str, float]:
    return {line.item: line.usd for line in idle_month(deployment, PRICES)}


def test_dev_has_no_idle_worker_and_no_nat_gateway(dev: Templates) -> None:
    assert not {"workers on demand", "workers on Spot", "NAT gateways"} & set(costs(dev))


def test_containers_are_charged_by_size_and_hour(standard: Templates) -> None:
    # Two containers of half a vCPU and 1 GB for 730 hours.
    assert costs(standard)["API containers"] == pytest.approx(
        2 * 730 * (0.5 * 0.04048 + 1 * 0.004445)
    )


def test_a_reconciler_run_is_charged_as_a_minute(standard: Templates) -> None:
    # One run every five minutes is 8,760 runs.
    assert costs(standard)["reconciler"] == pytest.approx(
        8_760 / 60 * (0.25 * 0.04048 + 0.5 * 0.004445)
    )


def test_interface_endpoints_are_charged_in_each_zone(private: Templates) -> None:
    assert costs(private)["interface endpoints"] == pytest.approx(5 * 2 * 730 * 0.01)


def test_public_addresses_are_charged(dev: Templates, standard: Templates) -> None:
    # The load balancer has two. In dev, each API container has one, and a reconciler a fifth of the
    # time. In standard, each NAT gateway has one.
    assert costs(dev)["public IPv4 addresses"] == pytest.approx((2 + 2 + 0.2) * 730 * 0.005)
    assert costs(standard)["public IPv4 addresses"] == pytest.approx((2 + 2) * 730 * 0.005)


def test_the_minimum_of_workers_runs_on_demand(standard: Templates) -> None:
    assert costs(standard)["workers on demand"] == pytest.approx(730 * (2 * 0.04048 + 4 * 0.004445))
    assert "workers on Spot" not in costs(standard)


def test_private_costs_more_than_standard_and_standard_more_than_dev(
    deployments: Mapping[str, Templates],
) -> None:
    totals = [sum(costs(deployments[name]).values()) for name in ("dev", "standard", "private")]

    assert totals == sorted(totals)


def test_every_price_has_a_source() -> None:
    assert [
        name for name, price in PRICES.by_name.items() if "https://" not in price["source"]
    ] == []
