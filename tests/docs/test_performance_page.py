"""The figures of the performance page are those of the last benchmark."""

import copy

from docs.generator.performance_figures import BUSY, PAGE, machine, read_results, with_figures


def test_the_figures_are_those_of_the_last_run() -> None:
    page = PAGE.read_text()

    assert with_figures(page, read_results()) == page


def test_the_page_says_whether_the_machine_was_busy() -> None:
    run = copy.deepcopy(read_results()["tasks"])
    everyone = [
        each for case in run["tasks"]["cases"].values() for each in case["contestants"].values()
    ]

    for each in everyone:
        each["other_cores"]["median"] = 0.1
    assert BUSY not in machine(run)

    everyone[0]["other_cores"]["median"] = 1.0
    assert BUSY in machine(run)
