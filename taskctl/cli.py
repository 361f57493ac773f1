"""The command line for operators: ``python -m taskctl keys | dlq | doctor``.

Credentials and endpoint are those that boto3 finds (``AWS_PROFILE``, ``AWS_ENDPOINT_URL``). The
region is that of ``--region`` or ``AWS_REGION``, which boto3 does not read, otherwise boto3's.
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
