"""The command line for operators: ``taskctl keys | dlq | doctor``.

boto3 finds the credentials and the endpoint (``AWS_PROFILE``, ``AWS_ENDPOINT_URL``). The region is
``--region`` or ``AWS_REGION``, which boto3 does not read. Without them, boto3 finds the region too.
"""

import click

from taskctl.commands.dlq import dlq
from taskctl.commands.doctor import doctor
from taskctl.commands.keys import keys


@click.group()
def cli() -> None:
    """Operate a deployment of Taskfleet."""


cli.add_command(keys)
cli.add_command(dlq)
cli.add_command(doctor)
