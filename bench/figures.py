"""Figures of several rounds."""

from collections.abc import Sequence
from statistics import median
from typing import Any

Figures = dict[str, Any]


def spread(values: Sequence[float]) -> Figures:
    return {
        "median": round(median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
    }


def spreads(rounds: Sequence[Figures]) -> Figures:
    """The spread of each figure."""
    return {name: spread([each[name] for each in rounds]) for name in rounds[0]}
