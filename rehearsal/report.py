"""The output of a rehearsal: each step as it ends, a verdict, and one line of JSON."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TextIO

import click

from rehearsal.failure import RehearsalFailed


@dataclass(slots=True)
class RehearsalFigures:
    """The members of the line of JSON, under their JSON names. All but `seconds` are counts."""

    stacks: int = 0
    resources: int = 0
    tasksCompleted: int = 0  # noqa: N815
    tasksFailedAsExpected: int = 0  # noqa: N815
    denied: int = 0
    """Calls that must be denied and were."""
    unusedPermissions: int = 0  # noqa: N815
    requestsDuringRollout: int = 0  # noqa: N815
    failedDuringRollout: int = 0  # noqa: N815
    leftAfterDestroy: int = 0  # noqa: N815
    seconds: float = 0.0


class RehearsalReport:
    """Writes to `stream`. `problems` are all failures and findings so far."""

    def __init__(self, stream: TextIO, *, title: str) -> None:
        self.figures = RehearsalFigures()
        self.problems: list[str] = []
        self._stream = stream
        self._started = time.monotonic()
        self.write(f"{title}\n")

    @contextmanager
    def step(self, purpose: str) -> Iterator[list[str]]:
        """Report one step at its end, followed by the notes that were added to the yielded list."""
        notes: list[str] = []
        try:
            yield notes
        except RehearsalFailed:
            self._write_result("✗", purpose, color="red")
            raise
        self.add_success(" ".join([f"{purpose}.", *notes]))

    def add_success(self, text: str) -> None:
        self._write_result("✓", text, color="green")

    def add_failure(self, failure: RehearsalFailed) -> None:
        """Report a problem that ended the rehearsal."""
        self.problems.append(str(failure))
        for line in failure.details:
            self.write(f"        │ {line}")

    def add_finding(self, text: str) -> None:
        """Report a problem after which the rehearsal continues."""
        self.problems.append(text)
        self._write_result("✗", text, color="red")

    def write_list(self, title: str, lines: Sequence[str]) -> None:
        self.write(f"\n{title}")
        for line in lines:
            self.write(f"  {line}")

    def finish(self) -> int:
        """Write the verdict and the line of JSON. Returns the exit code."""
        self.figures.seconds = round(time.monotonic() - self._started, 1)
        if self.problems:
            self.write_list(
                "Problems:", [click.style(f"✗ {problem}", fg="red") for problem in self.problems]
            )
        else:
            self.write(click.style("\nAll checks passed.", fg="green"))
        self.write("")
        self.write(json.dumps(asdict(self.figures)))
        return 1 if self.problems else 0

    def write(self, text: str) -> None:
        click.echo(text, file=self._stream)
        self._stream.flush()

    def _write_result(self, mark: str, text: str, *, color: str) -> None:
        elapsed = time.monotonic() - self._started
        self.write(f"{elapsed:6.1f} s {click.style(mark, fg=color)} {text}")
