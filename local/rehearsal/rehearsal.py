"""The order of things: deploy, play, prove, fence off, destroy."""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from local.embedded_aws import REGION, isolated
from local.rehearsal.aws.emulator import EmulatedAws
from local.rehearsal.cdk_cli import CdkCli
from local.rehearsal.certificate import Certificate
from local.rehearsal.clients import Clients
from local.rehearsal.deployment import Deployment
from local.rehearsal.docker_cli import DockerCli
from local.rehearsal.ecs import docker_engine
from local.rehearsal.ecs.addresses import Addresses
from local.rehearsal.ecs.engine import Engine
from local.rehearsal.ecs.player import set_desired_counts
from local.rehearsal.ecs.process_engine import ProcessEngine
from local.rehearsal.failure import Failed
from local.rehearsal.options import Options
from local.rehearsal.proofs import (
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
from local.rehearsal.report import Report
from local.rehearsal.roles import deployed_roles
from local.rehearsal.stage import Stage
from local.rehearsal.staging import staged
from local.rehearsal.tasks import TaskClient

WITHOUT_CERTIFICATE = "dev"
"""The profile that speaks plain HTTP."""

NOT_PROVEN = (
    "scaling policies, alarms and dashboard: that they do what they say, and when",
    "firewall, security groups, NAT and endpoints: no packet passes them here",
    "resource policies, such as TLS only, and the roles of the CDK's bootstrap",
    "the real load balancer, Fargate and Spot: their delays, and how they fail",
)


async def rehearse(options: Options, report: Report) -> None:
    """Raises ``Failed``, alone or in a group, at the first step that fails."""
    surroundings = dict(os.environ)
    with TemporaryDirectory(prefix="taskfleet-rehearsal-") as folder, EmulatedAws() as aws:
        scratch, addresses = Path(folder), Addresses()
        environment = _environment(aws)
        # From here on this process, too, knows no other AWS.
        os.environ.clear()
        os.environ.update(environment)
        clients = Clients(endpoint_url=aws.endpoint_url)
        engine = await _engine(options, surroundings, scratch)
        report.say(f"Services run as {engine.sentence}.\n")
        certificate = None
        if options.profile != WITHOUT_CERTIFICATE:
            certificate = Certificate(
                address=addresses.of_load_balancer, clients=clients, folder=scratch
            )
        deployment = Deployment(
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
        async with staged(
            deployment=deployment,
            aws=aws,
            clients=clients,
            engine=engine,
            addresses=addresses,
            certificate=certificate,
            report=report,
            logs=scratch,
        ) as stage:
            agreements.agree(stage)
            await _play(stage, environment)
    report.list(
        "An emulation cannot prove:",
        [*NOT_PROVEN, f"what moto skips: {', '.join(skipped)}"],
    )


async def _deploy(deployment: Deployment, report: Report) -> Sequence[str]:
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


async def _play(stage: Stage, environment: Mapping[str, str]) -> None:
    """With ECS played in the background, until everything is deleted again."""
    async with asyncio.TaskGroup() as background:
        playing = background.create_task(stage.player.run())
        roles = deployed_roles(stage)
        watching = background.create_task(permissions.watch(stage, roles))
        await _prove(stage, environment)
        watching.cancel()
        permissions.compare(stage, roles)
        fences.try_all(stage, roles)
        await teardown.destroy(stage.deployment, stage.clients, stage.report)
        playing.cancel()


async def _prove(stage: Stage, environment: Mapping[str, str]) -> None:
    """As a client, through the load balancer."""
    tasks = TaskClient(await keys.create(stage, environment, which="a"))
    async with stage.proof("The services start as deployed, and are healthy"):
        set_desired_counts(stage.clients)
        await stage.player.steady(stage.api)
        await stage.player.steady(stage.worker)
    late = await keys.create(stage, environment, which="another")
    await client.examine(stage, tasks)
    await operations.every_operation(stage, tasks)
    await client.wrong_pictures(stage, tasks)
    await client.recovering_source(stage, tasks)
    await client.cancel_and_retry(stage, tasks)
    unsent = await reconciler.submit_unsent(stage, tasks)
    waiting = await fleet.drain(stage, tasks)
    await fleet.scaling(stage, tasks, waiting)
    await reconciler.reconcile(stage, tasks, unsent)
    await keys.known_without_restart(stage, late)
    await rollout.rollout(stage, tasks)
    await fleet.farewells(stage)


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


def _context(options: Options, certificate: Certificate | None) -> Mapping[str, str]:
    """What the CDK is told with ``-c``."""
    context = {"profile": options.profile}
    if certificate is not None:
        context["certificate_arn"] = certificate.arn
    return {**context, **options.context}


async def _engine(options: Options, surroundings: Mapping[str, str], scratch: Path) -> Engine:
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
