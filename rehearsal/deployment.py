"""The deployment under rehearsal: made, changed and deleted by the CDK's command line."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from local.embedded_aws import REGION
from rehearsal import assembly, container_images
from rehearsal.aws.emulator import ACCOUNT
from rehearsal.aws.gate import Gate
from rehearsal.aws.policies import Policy, read_policy
from rehearsal.aws_clients import AwsClients
from rehearsal.cdk_cli import CdkCli
from rehearsal.ecs.engine import ContainerEngine


class CdkDeployment:
    """`scratch` is where its assemblies go. `environment_name` is what its stacks are called by."""

    def __init__(
        self,
        *,
        cdk: CdkCli,
        clients: AwsClients,
        gate: Gate,
        engine: ContainerEngine,
        environment_name: str,
        scratch: Path,
    ) -> None:
        self.environment_name = environment_name
        self._cdk = cdk
        self._clients = clients
        self._gate = gate
        self._engine = engine
        self._scratch = scratch
        self._assembly = scratch

    @property
    def stacks(self) -> Sequence[str]:
        return assembly.stacks(self._assembly)

    @property
    def is_protected(self) -> bool:
        """Whether CloudFormation refuses to delete any of its stacks."""
        stacks = self._clients.cloudformation.describe_stacks()["Stacks"]
        return any(
            stack.get("EnableTerminationProtection", False)
            for stack in stacks
            if stack["StackName"] in self.stacks
        )

    @property
    def resource_types(self) -> Collection[str]:
        """Those that its templates name."""
        return assembly.resource_types(self._assembly)

    async def create(self) -> None:
        """Synthesize, bootstrap, build the images, deploy; raises ``Failed``."""
        await self._synth()
        empty = self._scratch / "empty"
        empty.mkdir()
        await asyncio.gather(
            self._cdk.bootstrap(account=ACCOUNT, region=REGION, folder=empty), self._provide()
        )
        await self._deploy()

    async def update(self, **changed: str) -> None:
        """Deploy again with some settings `changed`; raises ``Failed``."""
        await self._synth(**changed)
        await self._provide()
        await self._deploy()

    async def destroy(self) -> None:
        await self._cdk.destroy(self._assembly)

    def resources(self) -> Mapping[str, Sequence[str]]:
        """The types of the resources that were created, by stack."""
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
        """An output of the stack that the deployment calls `stack`."""
        full_name = f"taskfleet-{self.environment_name}-{stack}"
        (found,) = self._clients.cloudformation.describe_stacks(StackName=full_name)["Stacks"]
        outputs = {each["OutputKey"]: each["OutputValue"] for each in found["Outputs"]}
        return outputs[name]

    def policies(self) -> Mapping[str, Policy]:
        """What the deployment's own roles may do, by role."""
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

    async def _synth(self, **changed: str) -> None:
        number = len(list(self._scratch.glob("assembly-*")))
        self._assembly = await self._cdk.synth(self._scratch / f"assembly-{number}", **changed)

    async def _provide(self) -> None:
        for asset in assembly.image_assets(self._assembly):
            await self._engine.provide(asset)

    async def _deploy(self) -> None:
        for asset in assembly.image_assets(self._assembly):
            container_images.register(asset, self._clients.ecr)
        await self._cdk.deploy(self._assembly)
        self._gate.judge(self.policies())
