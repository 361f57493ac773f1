"""The command line for operators: ``python -m taskctl keys | dlq | doctor``.

Credentials, region and endpoint are those that boto3 finds (``AWS_PROFILE``, ``AWS_REGION``,
``AWS_ENDPOINT_URL``).
"""

import click

from taskctl.dlq import dlq
from taskctl.doctor import doctor
from taskctl.keys import keys


@click.group()
def cli() -> None:
    """Operate a deployment of Taskfleet."""


cli.add_command(keys)
cli.add_command(dlq)
cli.add_command(doctor)
