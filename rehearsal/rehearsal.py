"""The steps of a rehearsal, in order: deploy, run, test, check permissions, destroy."""

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
from rehearsal.ecs.control_plane import set_desired_counts
from rehearsal.ecs.engine import ContainerEngine
from rehearsal.ecs.process_engine import ProcessEngine
from rehearsal.emulation import start_emulation
from rehearsal.failure import RehearsalFailed
from rehearsal.options import RehearsalOptions
from rehearsal.proof_context import ProofContext
from rehearsal.proofs import (
    client,
    consistency,
    denied_calls,
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

HTTP_PROFILE = "dev"
"""The profile without a certificate."""

NOT_PROVEN = (
    "whether scaling policies, alarms and the dashboard work, and how fast",
    "WAF, security groups, NAT and endpoints: no packet passes through them",
    "resource policies, such as TLS only, and the roles of the CDK's bootstrap stack",
    "the delays and failures of the real load balancer, Fargate and Spot",
)


async def rehearse(options: RehearsalOptions, report: RehearsalReport) -> None:
    """Run all steps. Raises ``RehearsalFailed``, alone or in a group, at the first that fails."""
    original_environment = dict(os.environ)
    with TemporaryDirectory(prefix="taskfleet-rehearsal-") as folder, EmulatedAws() as aws:
        scratch, addresses = Path(folder), AddressPool()
        environment = _environment(aws)
        # This process must not reach any other AWS either.
        os.environ.clear()
        os.environ.update(environment)
        clients = AwsClients(endpoint_url=aws.endpoint_url)
        engine = await _select_engine(options, original_environment, scratch)
        report.write(f"Services run as {engine.description}.\n")
        certificate = None
        if options.profile != HTTP_PROFILE:
            certificate = Certificate(
                address=addresses.load_balancer, clients=clients, folder=scratch
            )
        deployment = CdkDeployment(
            cdk=CdkCli(
                environment=environment,
                context=_cdk_context(options, original_environment, certificate),
                app=options.app,
            ),
            clients=clients,
            authorizer=aws.authorizer,
            engine=engine,
            environment_name=options.environment_name,
            scratch=scratch,
        )
        skipped_types = await _deploy(deployment, report)
        async with start_emulation(
            deployment=deployment,
            aws=aws,
            clients=clients,
            engine=engine,
            addresses=addresses,
            certificate=certificate,
            report=report,
            logs=scratch,
        ) as context:
            consistency.check(context)
            await _run(context, environment)
    report.write_list(
        "An emulation cannot prove:",
        [*NOT_PROVEN, f"resource types that moto skips: {', '.join(skipped_types)}"],
    )


async def _deploy(deployment: CdkDeployment, report: RehearsalReport) -> Sequence[str]:
    """Deploy everything. Returns the resource types that moto skipped."""
    with report.step("cdk bootstrap and cdk deploy --all succeed, with both images") as notes:
        await deployment.create()
        created = deployment.resources()
        report.figures.stacks = len(created)
        report.figures.resources = sum(map(len, created.values()))
        notes.append(f"{report.figures.stacks} stacks, {report.figures.resources} resources.")
    report.write_list(
        "Deployed:", [f"{stack}: {len(types)} resources" for stack, types in created.items()]
    )
    return sorted({*deployment.resource_types} - {*chain.from_iterable(created.values())})


async def _run(context: ProofContext, environment: Mapping[str, str]) -> None:
    """Run the services, test them and destroy the deployment."""
    async with asyncio.TaskGroup() as background:
        control_plane = background.create_task(context.control_plane.run())
        roles = deployed_roles(context)
        watcher = background.create_task(permissions.watch(context, roles))
        await _prove(context, environment)
        watcher.cancel()
        permissions.compare(context, roles)
        denied_calls.attempt_all(context, roles)
        await teardown.destroy(context.deployment, context.clients, context.report)
        control_plane.cancel()


async def _prove(context: ProofContext, environment: Mapping[str, str]) -> None:
    """Test the deployment as a client, through the load balancer."""
    tasks = TaskClient(await keys.create_key(context, environment, which="first"))
    async with context.proof("The services start as deployed and become healthy"):
        set_desired_counts(context.clients)
        await context.control_plane.wait_until_steady(context.api)
        await context.control_plane.wait_until_steady(context.worker)
    second_client = await keys.create_key(context, environment, which="second")
    await client.run_doctor(context, tasks)
    await operations.every_operation(context, tasks)
    await client.unusable_images(context, tasks)
    await client.recovering_source(context, tasks)
    await client.cancel_and_retry(context, tasks)
    await client.unreadable_message(context)
    unsent_task = await reconciler.submit_unsent(context, tasks)
    waiting_tasks = await fleet.drain(context, tasks)
    await fleet.scaling(context, tasks, waiting_tasks)
    await reconciler.reconcile(context, tasks, unsent_task)
    await keys.accepted_without_restart(context, second_client)
    await rollout.rollout(context, tasks)
    await fleet.clean_exits(context)


def _environment(aws: EmulatedAws) -> dict[str, str]:
    """The environment of the CDK CLI and of taskctl."""
    environment = isolated(os.environ, endpoint_url=aws.endpoint_url)
    no_proxy = f"{environment['NO_PROXY']},localhost"
    return {
        **environment,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL_S3": aws.endpoint_url,  # the CDK CLI reads this name for S3
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
    }


def _cdk_context(
    options: RehearsalOptions, environment: Mapping[str, str], certificate: Certificate | None
) -> Mapping[str, str]:
    """The values that the CDK CLI gets with ``-c``."""
    context = {"profile": options.profile}
    if base_image := environment.get("BASE_IMAGE"):
        context["base_image"] = base_image
    if certificate is not None:
        context["certificate_arn"] = certificate.arn
    return {**context, **options.settings}


async def _select_engine(
    options: RehearsalOptions, environment: Mapping[str, str], scratch: Path
) -> ContainerEngine:
    if options.engine == "processes":
        return ProcessEngine(scratch, reason="as requested")
    docker = DockerCli(environment)
    if await docker_engine.is_available(docker):
        await docker_engine.remove_orphans(docker)
        return docker_engine.DockerEngine(docker)
    if options.engine == "docker":
        raise RehearsalFailed("Docker is not available.")
    return ProcessEngine(scratch, reason="because Docker is not available")


def failures(error: BaseException) -> Iterator[RehearsalFailed]:
    """Every ``RehearsalFailed`` in an exception that ``rehearse`` raised."""
    match error:
        case RehearsalFailed():
            yield error
        case BaseExceptionGroup():
            for each in error.exceptions:
                yield from failures(each)
