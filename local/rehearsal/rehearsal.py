"""The order of things: deploy, play, prove, fence off, destroy."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from local.embedded_aws import REGION, isolated
from local.ports import HOST
from local.rehearsal.aws.emulator import EmulatedAws
from local.rehearsal.balancer.load_balancer import LoadBalancer
from local.rehearsal.balancer.settings import read_load_balancer, read_target_groups
from local.rehearsal.cdk_cli import CdkCli
from local.rehearsal.certificate import Certificate
from local.rehearsal.changes import Changes
from local.rehearsal.clients import Clients
from local.rehearsal.deployment import Deployment
from local.rehearsal.ecs import docker_engine
from local.rehearsal.ecs.addresses import loopback_addresses
from local.rehearsal.ecs.credentials import CredentialsEndpoint
from local.rehearsal.ecs.engine import Engine
from local.rehearsal.ecs.launcher import Launcher
from local.rehearsal.ecs.player import EcsPlayer, set_desired_counts
from local.rehearsal.ecs.process_engine import ProcessEngine
from local.rehearsal.failure import Failed
from local.rehearsal.options import Options
from local.rehearsal.pictures import PictureSource
from local.rehearsal.proofs import (
    agreements,
    client,
    fences,
    fleet,
    permissions,
    reconciler,
    rollout,
    teardown,
)
from local.rehearsal.report import Report
from local.rehearsal.roles import deployed_roles
from local.rehearsal.stage import Stage
from local.rehearsal.tasks import TaskClient

NOT_PROVEN = (
    "scaling policies, alarms, dashboard: that they do at the right time what they say",
    "the firewall's rules, security groups, NAT, endpoints: no packet passes them here",
    "resource policies (TLS only), bootstrap roles: only the roles of the services are judged",
    "the real load balancer, Fargate and Spot: their own delays and failures",
)


async def rehearse(options: Options, report: Report) -> None:
    """Raises ``Failed``, alone or in a group, at the first step that fails."""
    surroundings = dict(os.environ)
    with (
        TemporaryDirectory(prefix="taskfleet-rehearsal-") as folder,
        EmulatedAws() as aws,
    ):
        scratch = Path(folder)
        environment = _environment(aws)
        # From here on this process, too, knows no other AWS.
        os.environ.clear()
        os.environ.update(environment)
        engine = await _engine(options, surroundings, scratch)
        report.say(f"Services run as {engine.sentence}.\n")
        addresses = loopback_addresses()
        balancer_address = next(addresses)
        clients = Clients(endpoint_url=aws.endpoint_url)
        context, certificate = {"profile": options.profile, **options.context}, None
        if options.profile != "dev":
            certificate = Certificate(address=balancer_address, clients=clients, folder=scratch)
            context["certificate_arn"] = certificate.arn
        deployment = Deployment(
            cdk=CdkCli(environment=environment, context=context, app=options.app),
            clients=clients,
            gate=aws.gate,
            engine=engine,
            environment_name=options.environment_name,
            scratch=scratch,
        )
        with report.step("cdk bootstrap and cdk deploy --all, with both images built") as told:
            await deployment.create()
            resources = deployment.resources()
            report.figures.stacks = len(resources)
            report.figures.resources = sum(map(len, resources.values()))
            told.append(f"{report.figures.stacks} stacks, {report.figures.resources} resources.")
        async with AsyncExitStack() as stack:
            changes = Changes()
            balancer = await stack.enter_async_context(
                LoadBalancer(
                    read_load_balancer(clients.elbv2),
                    groups=read_target_groups(clients.elbv2),
                    address=balancer_address,
                    certificates={certificate.arn: certificate.context} if certificate else {},
                    changes=changes,
                )
            )
            credentials = await stack.enter_async_context(CredentialsEndpoint(clients, aws.gate))
            pictures = await stack.enter_async_context(PictureSource(changes))
            launcher = Launcher(
                engine=engine,
                credentials=credentials,
                addresses=addresses,
                additions=_additions(aws, pictures),
                logs=scratch,
                changes=changes,
            )
            player = EcsPlayer(
                clients=clients, launcher=launcher, balancer=balancer, changes=changes
            )
            stage = Stage(
                deployment=deployment,
                clients=clients,
                gate=aws.gate,
                launcher=launcher,
                player=player,
                balancer=balancer,
                pictures=pictures,
                changes=changes,
                report=report,
                ca_file=certificate.ca_file if certificate else None,
            )
            agreements.agree(stage)
            async with asyncio.TaskGroup() as background:
                following = background.create_task(player.run())
                try:
                    await _prove(stage, environment)
                finally:
                    for sentence in permissions.refused(stage, deployed_roles(stage)):
                        report.find(sentence)
                _fence(stage)
                await teardown.destroy(deployment, clients, report)
                following.cancel()
        report.list("An emulation cannot prove:", NOT_PROVEN)


async def _prove(stage: Stage, environment: Mapping[str, str]) -> None:
    """As a client, through the load balancer."""
    tasks = TaskClient(await client.create_key(stage, environment))
    async with stage.proof("The services start as deployed, and are healthy"):
        set_desired_counts(stage.clients)
        await stage.player.steady(stage.api)
        await stage.player.steady(stage.worker)
    late = await client.create_key(stage, environment)
    await client.examine(stage, tasks)
    await client.every_operation(stage, tasks)
    await client.wrong_pictures(stage, tasks)
    await client.recovering_source(stage, tasks)
    await client.cancel_and_retry(stage, tasks)
    unsent = await reconciler.submit_unsent(stage, tasks)
    waiting = await fleet.drain(stage, tasks)
    await fleet.scaling(stage, tasks, waiting)
    await reconciler.reconcile(stage, tasks, unsent)
    await client.late_key(stage, late)
    await rollout.rollout(stage, tasks)
    await fleet.farewells(stage)


def _fence(stage: Stage) -> None:
    roles = deployed_roles(stage)
    permissions.compare(stage, roles)
    stage.report.say("")
    fences.try_all(stage, roles)


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


def _additions(aws: EmulatedAws, pictures: PictureSource) -> Mapping[str, str]:
    """What every container is told beyond what is deployed."""
    return {
        "AWS_ENDPOINT_URL": aws.endpoint_url,
        "AWS_EC2_METADATA_DISABLED": "true",
        "FETCH_ALLOWED_NETWORKS": f"{HOST}/32",
        "FETCH_ALLOWED_PORTS": f"80,443,{pictures.port}",
    }


async def _engine(options: Options, surroundings: Mapping[str, str], scratch: Path) -> Engine:
    if options.engine == "processes":
        return ProcessEngine(scratch)
    if await docker_engine.is_available(surroundings):
        return docker_engine.DockerEngine(surroundings)
    if options.engine == "docker":
        raise Failed("No Docker engine answers.")
    return ProcessEngine(scratch)


def failures(error: BaseException) -> Iterator[Failed]:
    """Every ``Failed`` in what ``rehearse`` raises."""
    match error:
        case Failed():
            yield error
        case BaseExceptionGroup():
            for each in error.exceptions:
                yield from failures(each)
