"""The drawing of what each service's role may do, made from the synthesized templates."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from cdk.template.grants import describe, grants
from cdk.template.templates import Templates
from docs.generator.mermaid import arrow, flowchart, node

SERVICES = {"api": "API", "worker": "Workers", "reconciler": "Reconciler"}

TITLES = {
    "API keys": "API keys",
    "table": "Task table",
    "queue": "Task queue",
    "dead-letter queue": "Dead-letter queue",
    "result bucket": "Result bucket",
}


@dataclass(frozen=True)
class Access:
    """What a service's role may do with one resource."""

    service: str
    resource: str
    actions: tuple[str, ...]


def access_drawing(deployment: Templates) -> str:
    """Each service, with an arrow to every resource that its role may use."""
    statements = [node(service, title, kind="product") for service, title in SERVICES.items()]
    for number, access in enumerate(accesses(deployment)):
        resource = f"resource{number}"
        statements += [
            node(resource, TITLES[access.resource], *access.actions, kind="aws"),
            arrow(access.service, resource),
        ]
    return flowchart("LR", statements)


def accesses(deployment: Templates) -> Iterator[Access]:
    """Every resource that a service's role may use, with all actions that it allows."""
    for service in SERVICES:
        task = deployment.tasks[service]
        role = deployment.target(task["TaskRoleArn"], stack=task.stack)
        actions: defaultdict[str, list[str]] = defaultdict(list)
        for grant in grants(deployment, role):
            action, name = describe(deployment, grant)
            resource, _, part = name.partition("/")
            actions[resource].append(" ".join([action, *([part] if part else [])]))
        for resource, allowed in actions.items():
            yield Access(service, resource, tuple(allowed))
