"""The deployment under test: created, updated and destroyed with the CDK command line."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from local.embedded_aws import REGION
from rehearsal import assembly, container_images
from rehearsal.aws.authorizer import Authorizer
from rehearsal.aws.emulator import ACCOUNT
from rehearsal.aws.policies import Policy, read_policy
from rehearsal.aws_clients import AwsClients
from rehearsal.cdk_cli import CdkCli
from rehearsal.ecs.engine import ContainerEngine


class CdkDeployment:
    """Cloud assemblies are written to `scratch`. Stack names contain `environment_name`."""

    def __init__(
        self,
        *,
        cdk: CdkCli,
        clients: AwsClients,
        authorizer: Authorizer,
        engine: ContainerEngine,
        environment_name: str,
        scratch: Path,
    ) -> None:
        self.environment_name = environment_name
        self._cdk = cdk
        self._clients = clients
        self._authorizer = authorizer
        self._engine = engine
        self._scratch = scratch
        self._assembly = scratch

    @property
    def stacks(self) -> Sequence[str]:
        return assembly.stacks(self._assembly)

    @property
    def is_protected(self) -> bool:
        """Whether any stack has termination protection."""
        stacks = self._clients.cloudformation.describe_stacks()["Stacks"]
        return any(
            stack.get("EnableTerminationProtection", False)
            for stack in stacks
            if stack["StackName"] in self.stacks
        )

    @property
    def resource_types(self) -> Collection[str]:
        """The resource types in the templates."""
        return assembly.resource_types(self._assembly)

    async def create(self) -> None:
        """Synthesize, bootstrap, build the images and deploy. Raises ``RehearsalFailed``."""
        await self._synth()
        empty = self._scratch / "empty"
        empty.mkdir()
        await asyncio.gather(
            self._cdk.bootstrap(account=ACCOUNT, region=REGION, folder=empty),
            self._prepare_images(),
        )
        await self._deploy()

    async def update(self, **settings: str) -> None:
        """Deploy again with changed settings. Raises ``RehearsalFailed``."""
        await self._synth(**settings)
        await self._prepare_images()
        await self._deploy()

    async def destroy(self) -> None:
        await self._cdk.destroy(self._assembly)

    def resources(self) -> Mapping[str, Sequence[str]]:
        """The types of the created resources, by stack."""
        pages = self._clients.cloudformation.get_paginator("list_stack_resources")
        return {
            stack: [
                resource["ResourceType"]
                for page in pages.paginate(StackName=stack)
                for resource in page["StackResourceSummaries"]
            ]
            for stack in self.stacks
        }

    def output(self, stack: str, name: str) -> str:
        """An output of a stack. `stack` is its short name, for example ``state``."""
        full_name = f"taskfleet-{self.environment_name}-{stack}"
        (found,) = self._clients.cloudformation.describe_stacks(StackName=full_name)["Stacks"]
        outputs = {each["OutputKey"]: each["OutputValue"] for each in found["Outputs"]}
        return outputs[name]

    def policies(self) -> Mapping[str, Policy]:
        """The policies of the deployment's roles, by role name."""
        return {role: read_policy(self._clients.iam, role) for role in self._roles()}

    def _roles(self) -> Sequence[str]:
        pages = self._clients.iam.get_paginator("list_roles").paginate()
        prefix = f"taskfleet-{self.environment_name}-"
        return [
            role["RoleName"]
            for page in pages
            for role in page["Roles"]
            if role["RoleName"].startswith(prefix)
        ]

    async def _synth(self, **settings: str) -> None:
        number = len(list(self._scratch.glob("assembly-*")))
        self._assembly = await self._cdk.synth(self._scratch / f"assembly-{number}", **settings)

    async def _prepare_images(self) -> None:
        for asset in assembly.image_assets(self._assembly):
            await self._engine.prepare_image(asset)

    async def _deploy(self) -> None:
        for asset in assembly.image_assets(self._assembly):
            container_images.register(asset, self._clients.ecr)
        await self._cdk.deploy(self._assembly)
        self._authorizer.enforce(self.policies())
