"""``taskctl doctor``: find the part of a deployment that fails."""

import time
from collections.abc import Callable
from typing import Any, cast

import boto3
import click

from taskctl.commands.keys import SAMPLE_URL
from taskctl.deployment_check import CheckResult, DeploymentCheck
from taskctl.preflight import ARCHITECTURES, Plan, Preflight, docker_platforms
from taskfleet.api_client import ApiClient

VCPUS = {"dev": 1.75, "standard": 3.25, "private": 3.25}
"""On-demand vCPUs that a profile starts with: two API containers, a worker and the reconciler."""
NAT_GATEWAYS = {"dev": 0, "standard": 2, "private": 2}


@click.command()
@click.option(
    "--url",
    metavar="URL",
    envvar="TASKFLEET_URL",
    show_envvar=True,
    help="URL of the API.",
)
@click.option(
    "--key",
    metavar="KEY",
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
@click.option("--preflight", is_flag=True, help="Check the account before a deployment instead.")
@click.option("--profile", type=click.Choice(list(VCPUS)), default="dev", show_default=True)
@click.option("--certificate-arn", metavar="ARN", help="The certificate of the deployment.")
@click.option("--qualifier", metavar="NAME", default="hnb659fds", show_default=True)
@click.option("--existing-vpc", is_flag=True, help="The deployment creates no VPC.")
@click.option(
    "--architecture", type=click.Choice(list(ARCHITECTURES)), default="X86_64", show_default=True
)
@click.option("--region", metavar="REGION", envvar="AWS_REGION", show_envvar=True)
def doctor(
    *,
    url: str | None,
    key: str | None,
    image_url: str,
    timeout_s: float,
    ca_file: str | None,
    preflight: bool,
    profile: str,
    certificate_arn: str | None,
    qualifier: str,
    existing_vpc: bool,
    architecture: str,
    region: str | None,
) -> None:
    """Send one task through a deployment and name the part that fails.

    With --preflight, check account, bootstrap, certificate, quotas and builder for a first
    deployment.
    """
    if preflight:
        plan = Plan(
            certificate_arn=certificate_arn,
            bootstrap_qualifier=qualifier,
            architecture=architecture,
            new_vpcs=0 if existing_vpc else 1,
            nat_gateways=0 if existing_vpc else NAT_GATEWAYS[profile],
            vcpus=VCPUS[profile],
        )
        session = boto3.Session(region_name=region)
        client = cast("Callable[[str], Any]", session.client)
        checks = Preflight(plan, client=client, platforms=docker_platforms).run()
        failed = [result for result in checks if not _show(result)]
        if failed:
            raise SystemExit(1)
        return
    if not url or not key:
        raise click.UsageError("Give --url and --key, or --preflight.")
    deployment_check = DeploymentCheck(
        ApiClient(url, key=key, ca_file=ca_file),
        image_url=image_url,
        timeout_s=timeout_s,
        monotonic=time.monotonic,
        sleep=time.sleep,
    )
    for result in deployment_check.run():
        if not _show(result):
            raise SystemExit(1)


def _show(result: CheckResult) -> bool:
    """Print the result. Returns whether the check succeeded."""
    mark = click.style("✓", fg="green") if result.ok else click.style("✗", fg="red")
    click.echo(f"{mark} {result.check}: {result.message}")
    return result.ok
