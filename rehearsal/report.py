"""What the rehearsal tells: each step as it happens, at the end what it amounts to, and one line of
JSON for machines."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TextIO

import click

from rehearsal.failure import Failed


@dataclass(slots=True)
class Figures:
    """The members of the last line; all but `seconds` are counts. Names are those of the JSON."""

    stacks: int = 0
    resources: int = 0
    tasksCompleted: int = 0  # noqa: N815
    tasksFailedAsExpected: int = 0  # noqa: N815
    denied: int = 0
    """Calls that had to be refused, and were."""
    unusedPermissions: int = 0  # noqa: N815
    requestsDuringRollout: int = 0  # noqa: N815
    failedDuringRollout: int = 0  # noqa: N815
    leftAfterDestroy: int = 0  # noqa: N815
    seconds: float = 0.0


class RehearsalReport:
    """`wrong` is everything that is not as it must be."""

    def __init__(self, stream: TextIO, *, title: str) -> None:
        self.figures = Figures()
        self.wrong: list[str] = []
        self._stream = stream
        self._started = time.monotonic()
        self.say(f"{title}\n")

    @contextmanager
    def step(self, purpose: str) -> Iterator[list[str]]:
        """One step: told when it is done, with the sentences that were added to what is yielded."""
        sentences: list[str] = []
        try:
            yield sentences
        except Failed:
            self._line("✗", purpose, color="red")
            raise
        self.done(" ".join([f"{purpose}.", *sentences]))

    def done(self, text: str) -> None:
        """Something is as it must be."""
        self._line("✓", text, color="green")

    def fail(self, failed: Failed) -> None:
        self.wrong.append(str(failed))
        for line in failed.details:
            self.say(f"        │ {line}")

    def find(self, sentence: str) -> None:
        """Something is not as it must be, but nothing keeps the rehearsal from going on."""
        self.wrong.append(sentence)
        self._line("✗", sentence, color="red")

    def list(self, title: str, lines: Sequence[str]) -> None:
        self.say(f"\n{title}")
        for line in lines:
            self.say(f"  {line}")

    def finish(self) -> int:
        """The verdict and the line of JSON; returns the exit code."""
        self.figures.seconds = round(time.monotonic() - self._started, 1)
        if self.wrong:
            self.list(
                "Not as it must be:", [click.style(f"✗ {each}", fg="red") for each in self.wrong]
            )
        else:
            self.say(click.style("\nEverything is as it must be.", fg="green"))
        self.say("")
        self.say(json.dumps(asdict(self.figures)))
        return 1 if self.wrong else 0

    def say(self, text: str) -> None:
        click.echo(text, file=self._stream)
        self._stream.flush()

    def _line(self, mark: str, text: str, *, color: str) -> None:
        elapsed = time.monotonic() - self._started
        self.say(f"{elapsed:6.1f} s {click.style(mark, fg=color)} {text}")
