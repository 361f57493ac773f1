"""``taskctl doctor``: find the part of a deployment that fails."""

import time

import click

from taskctl.commands.keys import SAMPLE_URL
from taskctl.deployment_check import DeploymentCheck
from taskfleet.api_client import ApiClient


@click.command()
@click.option(
    "--url",
    metavar="URL",
    required=True,
    envvar="TASKFLEET_URL",
    show_envvar=True,
    help="URL of the API.",
)
@click.option(
    "--key",
    metavar="KEY",
    required=True,
    envvar="TASKFLEET_KEY",
    show_envvar=True,
    help="An API key with the scopes submit and read.",
)
@click.option(
    "--image-url",
    metavar="URL",
    default=SAMPLE_URL,
    show_default=True,
    help="The image to submit.",
)
@click.option(
    "--timeout",
    "timeout_s",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=300,
    show_default=True,
    help="How long to wait for a worker, and then for the result. Without a running worker, one "
    "has to start first.",
)
@click.option(
    "--ca-file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Certificate authorities to trust instead of the default ones.",
)
def doctor(url: str, key: str, image_url: str, timeout_s: float, ca_file: str | None) -> None:
    """Send one task through a deployment and name the part that fails."""
    deployment_check = DeploymentCheck(
        ApiClient(url, key=key, ca_file=ca_file),
        image_url=image_url,
        timeout_s=timeout_s,
        monotonic=time.monotonic,
        sleep=time.sleep,
    )
    for result in deployment_check.run():
        mark = click.style("✓", fg="green") if result.ok else click.style("✗", fg="red")
        click.echo(f"{mark} {result.check}: {result.message}")
        if not result.ok:
            raise SystemExit(1)
