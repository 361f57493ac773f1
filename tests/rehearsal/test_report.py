"""The report: what a person reads, and the last line for machines."""

import io
import json

import pytest

from rehearsal.failure import Failed
from rehearsal.report import RehearsalReport


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def report(screen: io.StringIO) -> RehearsalReport:
    return RehearsalReport(screen, title="A rehearsal.")


def last_line(screen: io.StringIO) -> dict[str, object]:
    figures: dict[str, object] = json.loads(screen.getvalue().splitlines()[-1])
    return figures


def test_the_last_line_has_exactly_these_members(
    report: RehearsalReport, screen: io.StringIO
) -> None:
    report.figures.stacks = 5

    assert report.finish() == 0

    figures = last_line(screen)
    assert list(figures) == [
        "stacks",
        "resources",
        "tasksCompleted",
        "tasksFailedAsExpected",
        "denied",
        "unusedPermissions",
        "requestsDuringRollout",
        "failedDuringRollout",
        "leftAfterDestroy",
        "seconds",
    ]
    assert figures["stacks"] == 5


def test_a_step_is_told_when_it_is_done(report: RehearsalReport, screen: io.StringIO) -> None:
    with report.step("It works") as told:
        assert "It works" not in screen.getvalue()
        told.append("Very well.")

    assert "✓ It works. Very well." in screen.getvalue()
    assert report.finish() == 0


def test_a_failed_step_is_told_and_ends_what_follows(
    report: RehearsalReport, screen: io.StringIO
) -> None:
    with pytest.raises(Failed), report.step("It works"):
        raise Failed("It does not.", details=("a line of its log",))

    assert "✗ It works" in screen.getvalue()


def test_whatever_is_wrong_is_said_at_the_end_and_makes_exit_code_1(
    report: RehearsalReport, screen: io.StringIO
) -> None:
    report.fail(Failed("It does not work.", details=("a line of its log",)))
    report.find("And this is not right either.")

    assert report.finish() == 1

    verdict = screen.getvalue().partition("Not as it must be:")[2]
    assert "It does not work." in verdict
    assert "And this is not right either." in verdict
    assert "a line of its log" in screen.getvalue()
    assert "seconds" in last_line(screen)
