"""The project's CDK app with one defect in the synthesized templates.

    cdk synth --app "python -m tests.rehearsal.broken_app missing-permission"

A defect is written into the templates after synthesis, since the settings class rejects some of
them.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import app

Properties = dict[str, Any]


def _resources(templates: Mapping[Path, Any], kind: str, *, stack: str) -> Iterator[Properties]:
    """The properties of every resource of a type in a stack. `kind` is the type without AWS::."""
    for path, template in templates.items():
        if path.name.endswith(f"-{stack}.template.json"):
            for resource in template["Resources"].values():
                if resource["Type"] == f"AWS::{kind}":
                    yield resource["Properties"]


def wrong_environment_name(templates: Mapping[Path, Any]) -> None:
    for definition in _resources(templates, "ECS::TaskDefinition", stack="worker"):
        for variable in definition["ContainerDefinitions"][0]["Environment"]:
            if variable["Name"] == "TASK_QUEUE_URL":
                variable["Name"] = "QUEUE_URL"


def missing_permission(templates: Mapping[Path, Any]) -> None:
    for policy in _resources(templates, "IAM::Policy", stack="worker"):
        document = policy["PolicyDocument"]
        document["Statement"] = [
            statement
            for statement in document["Statement"]
            if "s3:PutObject" not in statement["Action"]
        ]


def wrong_health_path(templates: Mapping[Path, Any]) -> None:
    for group in _resources(templates, "ElasticLoadBalancingV2::TargetGroup", stack="api"):
        group["HealthCheckPath"] = "/health"


def short_visibility(templates: Mapping[Path, Any]) -> None:
    for queue in _resources(templates, "SQS::Queue", stack="state"):
        if "VisibilityTimeout" in queue:
            queue["VisibilityTimeout"] = 30


def unused_permission(templates: Mapping[Path, Any]) -> None:
    for policy in _resources(templates, "IAM::Policy", stack="api"):
        for statement in policy["PolicyDocument"]["Statement"]:
            if statement["Action"] == "s3:GetObject":
                statement["Action"] = ["s3:GetObject", "s3:DeleteObject"]


DEFECTS: Mapping[str, Callable[[Mapping[Path, Any]], None]] = {
    "wrong-environment-name": wrong_environment_name,
    "missing-permission": missing_permission,
    "wrong-health-path": wrong_health_path,
    "short-visibility": short_visibility,
    "unused-permission": unused_permission,
}


def main(defect: str) -> None:
    app.main()
    folder = Path(os.environ["CDK_OUTDIR"])
    templates = {path: json.loads(path.read_text()) for path in folder.glob("*.template.json")}
    before = json.dumps(list(templates.values()))
    DEFECTS[defect](templates)
    if json.dumps(list(templates.values())) == before:
        sys.exit(f"{defect} has changed no template")
    for path, template in templates.items():
        path.write_text(json.dumps(template))


if __name__ == "__main__":
    main(sys.argv[1])
