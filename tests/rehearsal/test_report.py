"""The report: text for people, and a last line of JSON for machines."""

import io
import json

import pytest

from rehearsal.failure import RehearsalFailed
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


def test_the_last_line_has_exactly_the_documented_members(
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


def test_a_step_is_reported_with_its_notes_when_it_ends(
    report: RehearsalReport, screen: io.StringIO
) -> None:
    with report.step("It works") as notes:
        assert "It works" not in screen.getvalue()
        notes.append("3 of 3.")

    assert "✓ It works. 3 of 3." in screen.getvalue()
    assert report.finish() == 0


def test_a_failed_step_is_reported_and_raises(report: RehearsalReport, screen: io.StringIO) -> None:
    with pytest.raises(RehearsalFailed), report.step("It works"):
        raise RehearsalFailed("It does not.", details=("a line of its log",))

    assert "✗ It works" in screen.getvalue()


def test_problems_are_listed_at_the_end_and_the_exit_code_is_1(
    report: RehearsalReport, screen: io.StringIO
) -> None:
    report.add_failure(RehearsalFailed("It does not work.", details=("a line of its log",)))
    report.add_finding("A permission is unused.")

    assert report.finish() == 1

    verdict = screen.getvalue().partition("Problems:")[2]
    assert "It does not work." in verdict
    assert "A permission is unused." in verdict
    assert "a line of its log" in screen.getvalue()
    assert "seconds" in last_line(screen)
