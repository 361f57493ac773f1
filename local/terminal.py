"""The terminal that all processes share."""

import os
from collections.abc import Sequence
from typing import TextIO

import click

COLORS = ("cyan", "green", "yellow", "magenta")


class TerminalClosed(Exception):
    """The terminal window was closed, or the reader of the pipe has exited."""


class Terminal:
    """Prefixes each line with the name of its program, in color if `stream` is a terminal."""

    def __init__(self, stream: TextIO, *, names: Sequence[str]) -> None:
        self._stream = stream
        self._prefixes = {
            name: click.style(f"{name:<{max(map(len, names))}} │ ", fg=color)
            for name, color in zip(names, COLORS, strict=False)
        }

    def print_line(self, name: str, text: str) -> None:
        """Print an output line of the program `name`. Raises ``TerminalClosed``."""
        self.print(self._prefixes[name] + text)

    def print(self, text: str) -> None:
        """Print text without a prefix. Raises ``TerminalClosed``."""
        try:
            click.echo(text, file=self._stream)
        except OSError as error:
            # Discard buffered text. Otherwise the interpreter reports an error when it exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            raise TerminalClosed from error
