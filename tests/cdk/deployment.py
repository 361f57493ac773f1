"""The synthesised templates of one deployment, read as what they describe: resources and relations.

Tests never see a logical id: they ask for resources by type and property, and follow a reference to
the resource that it leads to, through exports and imports of other stacks.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from aws_cdk import App, Environment

from app import PROFILES, build
from cdk.settings import Settings, load_settings

ROOT = Path(__file__).parent.parent.parent
ENV = Environment(account="111122223333", region="eu-west-1")


@dataclass(frozen=True)
class Resource:
    """One resource; `stack` is its stack's part of the deployment, such as ``state``."""

    stack: str
    logical_id: str
    body: Mapping[str, Any]

    @property
    def type(self) -> str:
        return str(self.body["Type"])

    def __getitem__(self, name: str) -> Any:
        return self.body["Properties"][name]

    def get(self, name: str, default: Any = None) -> Any:
        return self.body["Properties"].get(name, default)


@dataclass(frozen=True)
class Deployment:
    settings: Settings
    folder: Path

    @cached_property
    def templates(self) -> Mapping[str, Mapping[str, Any]]:
        """By stack, such as ``network``."""
        prefix = f"taskfleet-{self.settings.environment}-"
        return {
            path.name.removeprefix(prefix).removesuffix(".template.json"): json.loads(
                path.read_text()
            )
            for path in sorted(self.folder.glob("*.template.json"))
        }

    @cached_property
    def resources(self) -> tuple[Resource, ...]:
        return tuple(
            Resource(stack, logical_id, body)
            for stack, template in self.templates.items()
            for logical_id, body in template["Resources"].items()
        )

    def all(self, type_name: str, *, stack: str | None = None, **properties: Any) -> list[Resource]:
        """Resources of a type (without ``AWS::``), with exactly these properties."""
        return [
            resource
            for resource in self.resources
            if resource.type == f"AWS::{type_name}"
            and stack in {None, resource.stack}
            and all(resource.get(name) == value for name, value in properties.items())
        ]

    def one(self, type_name: str, *, stack: str | None = None, **properties: Any) -> Resource:
        found = self.all(type_name, stack=stack, **properties)
        assert len(found) == 1, (
            f"{len(found)} of {type_name} {properties} in {stack or 'any stack'}"
        )
        return found[0]

    def target(self, value: Any, *, stack: str) -> Resource:
        """The resource that a reference in `stack` leads to, wherever it is."""
        match value:
            case {"Ref": logical_id} | {"Fn::GetAtt": [logical_id, _]}:
                return Resource(stack, logical_id, self.templates[stack]["Resources"][logical_id])
            case {"Fn::ImportValue": export}:
                exporter, exported = self._exports[export]
                return self.target(exported, stack=exporter)
        raise AssertionError(f"not a reference: {value}")

    def targets(self, value: Any, *, stack: str) -> Iterator[Resource]:
        """Every resource that anything within `value` refers to."""
        match value:
            case {"Ref": str(name)} if name.startswith("AWS::"):
                return
            case {"Ref": _} | {"Fn::GetAtt": _} | {"Fn::ImportValue": _}:
                yield self.target(value, stack=stack)
            case dict():
                for part in value.values():
                    yield from self.targets(part, stack=stack)
            case list():
                for part in value:
                    yield from self.targets(part, stack=stack)

    @cached_property
    def tasks(self) -> Mapping[str, Resource]:
        """The task definition of each service: api, worker, reconciler."""
        schedule = self.one("Scheduler::Schedule")
        services = {
            stack: self.target(self.one("ECS::Service", stack=stack)["TaskDefinition"], stack=stack)
            for stack in ("api", "worker")
        }
        reconciler = schedule["Target"]["EcsParameters"]["TaskDefinitionArn"]
        return {**services, "reconciler": self.target(reconciler, stack=schedule.stack)}

    def container(self, service: str) -> Mapping[str, Any]:
        """The one container of a service's task."""
        container: Mapping[str, Any]
        (container,) = self.tasks[service]["ContainerDefinitions"]
        return container

    @cached_property
    def table(self) -> Resource:
        return self.one("DynamoDB::Table")

    @cached_property
    def api_keys(self) -> Resource:
        return self.one("SecretsManager::Secret")

    @cached_property
    def queue(self) -> Resource:
        (queue,) = (queue for queue in self.all("SQS::Queue") if queue.get("RedrivePolicy"))
        return queue

    @cached_property
    def dead_letters(self) -> Resource:
        arn = self.queue["RedrivePolicy"]["deadLetterTargetArn"]
        return self.target(arn, stack=self.queue.stack)

    @cached_property
    def results(self) -> Resource:
        """The bucket of results."""
        (bucket,) = (b for b in self.all("S3::Bucket") if b.get("LoggingConfiguration"))
        return bucket

    @cached_property
    def access_logs(self) -> Resource:
        """The bucket of access logs."""
        name = self.results["LoggingConfiguration"]["DestinationBucketName"]
        return self.target(name, stack=self.results.stack)

    def is_protected(self, stack: str) -> bool:
        """Whether CloudFormation refuses to delete the stack."""
        name = f"taskfleet-{self.settings.environment}-{stack}"
        manifest = json.loads((self.folder / "manifest.json").read_text())
        properties = manifest["artifacts"][name]["properties"]
        return bool(properties.get("terminationProtection"))

    @cached_property
    def _exports(self) -> Mapping[str, tuple[str, Any]]:
        return {
            output["Export"]["Name"]: (stack, output["Value"])
            for stack, template in self.templates.items()
            for output in template.get("Outputs", {}).values()
            if "Export" in output
        }


def cdk_context() -> dict[str, Any]:
    """What the CDK's command line hands to the app besides ``-c``."""
    context: dict[str, Any] = json.loads((ROOT / "cdk.json").read_text())["context"]
    return context


def synthesise(folder: Path, **context: Any) -> Deployment:
    """Synthesise as the CDK's command line would with ``-c name=value`` for each of `context`."""
    given = {**cdk_context(), **context}
    settings = load_settings(given, profiles=PROFILES)
    app = App(context=given, outdir=str(folder))
    build(app, settings, ENV)
    app.synth()
    return Deployment(settings, folder)
