"""The order of things: deploy, play, prove, fence off, destroy."""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from local.embedded_aws import REGION, isolated
from rehearsal.aws.emulator import EmulatedAws
from rehearsal.aws_clients import AwsClients
from rehearsal.cdk_cli import CdkCli
from rehearsal.certificate import Certificate
from rehearsal.deployment import CdkDeployment
from rehearsal.docker_cli import DockerCli
from rehearsal.ecs import docker_engine
from rehearsal.ecs.addresses import AddressPool
from rehearsal.ecs.engine import ContainerEngine
from rehearsal.ecs.player import set_desired_counts
from rehearsal.ecs.process_engine import ProcessEngine
from rehearsal.emulation import emulated
from rehearsal.failure import Failed
from rehearsal.options import RehearsalOptions
from rehearsal.proof_context import ProofContext
from rehearsal.proofs import (
    agreements,
    client,
    fences,
    fleet,
    keys,
    operations,
    permissions,
    reconciler,
    rollout,
    teardown,
)
from rehearsal.report import RehearsalReport
from rehearsal.roles import deployed_roles
from rehearsal.task_client import TaskClient

WITHOUT_CERTIFICATE = "dev"
"""The profile that speaks plain HTTP."""

NOT_PROVEN = (
    "scaling policies, alarms and dashboard: that they do what they say, and when",
    "firewall, security groups, NAT and endpoints: no packet passes them here",
    "resource policies, such as TLS only, and the roles of the CDK's bootstrap",
    "the real load balancer, Fargate and Spot: their delays, and how they fail",
)


async def rehearse(options: RehearsalOptions, report: RehearsalReport) -> None:
    """Raises ``Failed``, alone or in a group, at the first step that fails."""
    surroundings = dict(os.environ)
    with TemporaryDirectory(prefix="taskfleet-rehearsal-") as folder, EmulatedAws() as aws:
        scratch, addresses = Path(folder), AddressPool()
        environment = _environment(aws)
        # From here on this process, too, knows no other AWS.
        os.environ.clear()
        os.environ.update(environment)
        clients = AwsClients(endpoint_url=aws.endpoint_url)
        engine = await _engine(options, surroundings, scratch)
        report.say(f"Services run as {engine.sentence}.\n")
        certificate = None
        if options.profile != WITHOUT_CERTIFICATE:
            certificate = Certificate(
                address=addresses.of_load_balancer, clients=clients, folder=scratch
            )
        deployment = CdkDeployment(
            cdk=CdkCli(
                environment=environment, context=_context(options, certificate), app=options.app
            ),
            clients=clients,
            gate=aws.gate,
            engine=engine,
            environment_name=options.environment_name,
            scratch=scratch,
        )
        skipped = await _deploy(deployment, report)
        async with emulated(
            deployment=deployment,
            aws=aws,
            clients=clients,
            engine=engine,
            addresses=addresses,
            certificate=certificate,
            report=report,
            logs=scratch,
        ) as context:
            agreements.agree(context)
            await _play(context, environment)
    report.list(
        "An emulation cannot prove:",
        [*NOT_PROVEN, f"what moto skips: {', '.join(skipped)}"],
    )


async def _deploy(deployment: CdkDeployment, report: RehearsalReport) -> Sequence[str]:
    """Returns the types of which moto made no resource."""
    with report.step("cdk bootstrap and cdk deploy --all, with both images") as told:
        await deployment.create()
        created = deployment.resources()
        report.figures.stacks = len(created)
        report.figures.resources = sum(map(len, created.values()))
        told.append(f"{report.figures.stacks} stacks, {report.figures.resources} resources.")
    report.list(
        "Deployed:", [f"{stack}: {len(types)} resources" for stack, types in created.items()]
    )
    return sorted({*deployment.resource_types} - {*chain.from_iterable(created.values())})


async def _play(context: ProofContext, environment: Mapping[str, str]) -> None:
    """With ECS played in the background, until everything is deleted again."""
    async with asyncio.TaskGroup() as background:
        playing = background.create_task(context.player.run())
        roles = deployed_roles(context)
        watching = background.create_task(permissions.watch(context, roles))
        await _prove(context, environment)
        watching.cancel()
        permissions.compare(context, roles)
        fences.try_all(context, roles)
        await teardown.destroy(context.deployment, context.clients, context.report)
        playing.cancel()


async def _prove(context: ProofContext, environment: Mapping[str, str]) -> None:
    """As a client, through the load balancer."""
    tasks = TaskClient(await keys.create(context, environment, which="a"))
    async with context.proof("The services start as deployed, and are healthy"):
        set_desired_counts(context.clients)
        await context.player.steady(context.api)
        await context.player.steady(context.worker)
    late = await keys.create(context, environment, which="another")
    await client.examine(context, tasks)
    await operations.every_operation(context, tasks)
    await client.wrong_images(context, tasks)
    await client.recovering_source(context, tasks)
    await client.cancel_and_retry(context, tasks)
    unsent = await reconciler.submit_unsent(context, tasks)
    waiting = await fleet.drain(context, tasks)
    await fleet.scaling(context, tasks, waiting)
    await reconciler.reconcile(context, tasks, unsent)
    await keys.known_without_restart(context, late)
    await rollout.rollout(context, tasks)
    await fleet.farewells(context)


def _environment(aws: EmulatedAws) -> dict[str, str]:
    """Of the CDK's and of our own command line."""
    environment = isolated(os.environ, endpoint_url=aws.endpoint_url)
    never_proxied = f"{environment['NO_PROXY']},localhost"
    return {
        **environment,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL_S3": aws.endpoint_url,  # the CDK asks for it by this name
        "NO_PROXY": never_proxied,
        "no_proxy": never_proxied,
    }


def _context(options: RehearsalOptions, certificate: Certificate | None) -> Mapping[str, str]:
    """What the CDK is told with ``-c``."""
    context = {"profile": options.profile}
    if certificate is not None:
        context["certificate_arn"] = certificate.arn
    return {**context, **options.context}


async def _engine(
    options: RehearsalOptions, surroundings: Mapping[str, str], scratch: Path
) -> ContainerEngine:
    if options.engine == "processes":
        return ProcessEngine(scratch, reason="as asked for")
    docker = DockerCli(surroundings)
    if await docker_engine.is_available(docker):
        await docker_engine.remove_orphans(docker)
        return docker_engine.DockerEngine(docker)
    if options.engine == "docker":
        raise Failed("No Docker engine answers.")
    return ProcessEngine(scratch, reason="since no Docker engine answers")


def failures(error: BaseException) -> Iterator[Failed]:
    """Every ``Failed`` in what ``rehearse`` raises."""
    match error:
        case Failed():
            yield error
        case BaseExceptionGroup():
            for each in error.exceptions:
                yield from failures(each)
