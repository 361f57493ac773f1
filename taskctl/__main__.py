"""``python -m taskctl``"""

from taskctl.cli import cli

cli(prog_name="python -m taskctl")
