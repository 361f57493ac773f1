"""The one terminal on which all processes write."""

import os
from collections.abc import Sequence
from typing import TextIO

import click

COLORS = ("cyan", "green", "yellow", "magenta")


class TerminalGone(Exception):
    """Nobody reads any more: the window was closed, or the program behind a pipe has ended."""


class Terminal:
    """Writes each line after the name of who said it; in color when `stream` is a terminal."""

    def __init__(self, stream: TextIO, *, names: Sequence[str]) -> None:
        self._stream = stream
        self._prefixes = {
            name: click.style(f"{name:<{max(map(len, names))}} │ ", fg=color)
            for name, color in zip(names, COLORS, strict=False)
        }

    def line(self, name: str, text: str) -> None:
        """Raises ``TerminalGone``."""
        self.say(self._prefixes[name] + text)

    def say(self, text: str) -> None:
        """Something that the runner itself says; raises ``TerminalGone``."""
        try:
            click.echo(text, file=self._stream)
        except OSError as error:
            # What is still buffered goes nowhere, or the interpreter would complain at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            raise TerminalGone from error
