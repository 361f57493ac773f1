"""The gate fails if Taskfleet has become slower, and only then."""

import pytest

from bench.gate import MAX_WORSE, Ratios, verdicts

RECORDED = {"CPU time": 1.2, "memory": 2.0}


def worse(*runs: Ratios) -> list[str]:
    """The names of the ratios that fail, when the runs measure `runs`."""
    remaining = iter(runs)
    compared = verdicts(lambda: next(remaining), RECORDED)
    return [verdict.name for verdict in compared if verdict.is_worse]


def test_the_recorded_ratios_pass() -> None:
    assert worse(RECORDED) == []


def test_a_better_ratio_passes() -> None:
    assert worse({"CPU time": 0.6, "memory": 1.0}) == []


@pytest.mark.parametrize("name", RECORDED)
def test_a_ratio_that_is_worse_twice_fails(name: str) -> None:
    run = {**RECORDED, name: RECORDED[name] * MAX_WORSE + 0.01}

    assert worse(run, run) == [name]


def test_a_ratio_that_is_worse_once_passes() -> None:
    assert worse({**RECORDED, "memory": 4.0}, RECORDED) == []


def test_two_ratios_that_are_worse_in_different_runs_pass() -> None:
    assert worse({**RECORDED, "memory": 4.0}, {**RECORDED, "CPU time": 4.0}) == []
