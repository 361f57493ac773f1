"""The resources in the synthesized templates of one deployment.

Resources are found by type and property, never by logical id. References are followed to their
resource, also through exports and imports between stacks.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cdk.settings import Settings


@dataclass(frozen=True)
class Resource:
    """One resource. `stack` is the last part of its stack's name, such as ``state``."""

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
class Templates:
    """The templates in `folder`, synthesized from `settings`."""

    settings: Settings
    folder: Path

    @cached_property
    def templates(self) -> Mapping[str, Mapping[str, Any]]:
        """Each stack's template, by the last part of the stack's name, such as ``network``."""
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
        """All resources of a type (given without ``AWS::``) that have these properties."""
        return [
            resource
            for resource in self.resources
            if resource.type == f"AWS::{type_name}"
            and stack in {None, resource.stack}
            and all(resource.get(name) == value for name, value in properties.items())
        ]

    def one(self, type_name: str, *, stack: str | None = None, **properties: Any) -> Resource:
        """The only such resource; raises :class:`LookupError` if there are none or several."""
        found = self.all(type_name, stack=stack, **properties)
        if len(found) != 1:
            where = f"in {stack}" if stack else "in all stacks"
            raise LookupError(f"found {len(found)} {type_name} with {properties} {where}")
        return found[0]

    def target(self, value: Any, *, stack: str) -> Resource:
        """The resource that a reference in `stack` names, in whichever stack it is."""
        match value:
            case {"Ref": logical_id} | {"Fn::GetAtt": [logical_id, _]}:
                return Resource(stack, logical_id, self.templates[stack]["Resources"][logical_id])
            case {"Fn::ImportValue": export}:
                exporter, exported = self._exports[export]
                return self.target(exported, stack=exporter)
        raise LookupError(f"not a reference: {value}")

    def targets(self, value: Any, *, stack: str) -> Iterator[Resource]:
        """Every resource that `value` or any part of it refers to."""
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
        """The task definitions by service: ``api``, ``worker``, ``reconciler``."""
        schedule = self.one("Scheduler::Schedule")
        services = {
            stack: self.target(self.one("ECS::Service", stack=stack)["TaskDefinition"], stack=stack)
            for stack in ("api", "worker")
        }
        reconciler = schedule["Target"]["EcsParameters"]["TaskDefinitionArn"]
        return {**services, "reconciler": self.target(reconciler, stack=schedule.stack)}

    def container(self, service: str) -> Mapping[str, Any]:
        """The only container in a service's task."""
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
    def dead_letter_queue(self) -> Resource:
        arn = self.queue["RedrivePolicy"]["deadLetterTargetArn"]
        return self.target(arn, stack=self.queue.stack)

    @cached_property
    def result_bucket(self) -> Resource:
        """The bucket that holds results and uploads."""
        (bucket,) = (b for b in self.all("S3::Bucket") if b.get("LoggingConfiguration"))
        return bucket

    @cached_property
    def log_bucket(self) -> Resource:
        """The bucket that holds access logs."""
        name = self.result_bucket["LoggingConfiguration"]["DestinationBucketName"]
        return self.target(name, stack=self.result_bucket.stack)

    def name_of(self, resource: Resource) -> str:
        """A readable name, such as ``result bucket``. Falls back to the resource's type."""
        named = {
            "table": self.table,
            "queue": self.queue,
            "dead-letter queue": self.dead_letter_queue,
            "result bucket": self.result_bucket,
            "log bucket": self.log_bucket,
            "API keys": self.api_keys,
        }
        for name, candidate in named.items():
            if candidate == resource:
                return name
        return resource.type.removeprefix("AWS::")

    def is_protected(self, stack: str) -> bool:
        """Whether termination protection is on."""
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
