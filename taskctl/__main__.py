"""``python -m taskctl``: the command line, run from a clone."""

from taskctl.cli import cli

cli(prog_name="python -m taskctl")
