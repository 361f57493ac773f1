"""AWS's list prices from ``prices.json``, with their region, date and sources."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

PRICES_FILE = Path(__file__).with_name("prices.json")


@dataclass(frozen=True)
class Prices:
    """Prices in US dollars, before tax and free tiers."""

    region: str
    as_of: str
    by_name: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, path: Path = PRICES_FILE) -> Self:
        content = json.loads(path.read_text())
        return cls(content["region"], content["as_of"], content["prices"])

    def usd(self, name: str, variant: str = "usd") -> float:
        """The price of one unit. The end of `name` is the unit."""
        return float(self.by_name[name][variant])
