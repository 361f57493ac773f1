"""``taskctl doctor``: which hop of a deployment fails."""

import time

import click

from taskctl.examination import Examination
from taskctl.keys import SAMPLE_URL
from taskfleet.api_client import ApiClient


@click.command()
@click.option(
    "--url",
    metavar="URL",
    required=True,
    envvar="TASKFLEET_URL",
    show_envvar=True,
    help="Where the API answers.",
)
@click.option(
    "--key",
    metavar="KEY",
    required=True,
    envvar="TASKFLEET_KEY",
    show_envvar=True,
    help="A key that may submit and read.",
)
@click.option(
    "--image-url",
    metavar="URL",
    default=SAMPLE_URL,
    show_default=True,
    help="The image that is submitted.",
)
@click.option(
    "--patience",
    "patience_s",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=300,
    show_default=True,
    help="How long the task may take; without a running worker one starts first.",
)
@click.option(
    "--ca-file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Authorities to trust instead of the usual ones.",
)
def doctor(url: str, key: str, image_url: str, patience_s: float, ca_file: str | None) -> None:
    """Send one task all the way through a deployment, and name the hop that fails."""
    examination = Examination(
        ApiClient(url, key=key, ca_file=ca_file),
        image_url=image_url,
        patience_s=patience_s,
        monotonic=time.monotonic,
        sleep=time.sleep,
    )
    for finding in examination.run():
        mark = click.style("✓", fg="green") if finding.ok else click.style("✗", fg="red")
        click.echo(f"{mark} {finding.hop}: {finding.sentence}")
        if not finding.ok:
            raise SystemExit(1)
