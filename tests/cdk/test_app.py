"""The CDK app, run as the CDK CLI runs it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from cdk.template.templates import Resource, Templates
from tests.cdk.synthesized import ROOT, deployed

STACKS = ("network", "state", "api", "worker", "observability")


def run_app(*context: str, outdir: Path) -> "subprocess.CompletedProcess[str]":
    """Run the app with an empty path, without credentials, in the region that the CLI sets."""
    values = ", ".join(f'"{name}": "{value}"' for name, value in (c.split("=") for c in context))
    return subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env={
            "PATH": "/nonexistent",
            "HOME": os.environ["HOME"],
            "JSII_NODE": os.environ["JSII_NODE"],
            "CDK_DEFAULT_REGION": "eu-west-1",
            "CDK_OUTDIR": str(outdir),
            "CDK_CONTEXT_JSON": f"{{{values}}}",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_synthesis_needs_no_docker_no_credentials_and_no_installed_node(
    tmp_path: Path,
) -> None:
    done = run_app("profile=dev", outdir=tmp_path)

    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.glob("*.template.json")} == {
        f"taskfleet-dev-{stack}.template.json" for stack in STACKS
    }


def test_an_invalid_setting_prints_one_sentence_and_no_traceback(tmp_path: Path) -> None:
    done = run_app("profile=dev", "worker_max_task=3", outdir=tmp_path)

    assert done.returncode == 1
    assert done.stderr.strip() == (
        "There is no setting 'worker_max_task'. Did you mean 'worker_max_tasks'?"
    )


def test_an_account_can_hold_several_environments(
    dev: Templates, tmp_path_factory: pytest.TempPathFactory
) -> None:
    blue = deployed(tmp_path_factory.mktemp("blue"), profile="dev", environment="blue")

    assert set(blue.templates) == set(dev.templates)
    assert names(dev)
    assert not names(dev) & names(blue)


GLOBAL_TYPES = ("AWS::CloudWatch::Dashboard", "AWS::IAM::Role", "AWS::IAM::ManagedPolicy")
"""Types whose names are unique in the account. Names of buckets are unique in the partition."""


def test_an_environment_can_exist_in_several_regions(deployment: Templates) -> None:
    for resource in deployment.resources:
        for name in fixed_names(resource):
            assert resource.type != "AWS::S3::Bucket", name
            assert resource.type not in GLOBAL_TYPES or name.endswith("-eu-west-1"), name


def test_every_stack_uses_the_bootstrap_of_the_settings(tmp_path: Path) -> None:
    done = run_app(
        *("profile=dev", "github_repository=a/b", "bootstrap_qualifier=platform"), outdir=tmp_path
    )

    assert done.returncode == 0, done.stderr
    assembly = "".join(path.read_text() for path in tmp_path.glob("*.json"))
    assert "hnb659fds" not in assembly
    assert "cdk-platform-deploy-role" in assembly


def test_a_certificate_of_another_region_is_refused(tmp_path: Path) -> None:
    certificate = "arn:aws:acm:us-east-1:111122223333:certificate/1"

    done = run_app("profile=standard", f"certificate_arn={certificate}", outdir=tmp_path)

    assert done.stderr.strip() == (
        f"certificate_arn ({certificate}) must be in the region of the deployment (eu-west-1)."
    )


def test_containers_are_tagged_with_their_environment(deployment: Templates) -> None:
    for service in deployment.all("ECS::Service"):
        assert {
            "Key": "taskfleet:environment",
            "Value": deployment.settings.environment,
        } in service["Tags"]
        assert service["PropagateTags"] == "SERVICE"


def test_network_and_state_have_termination_protection_outside_dev(
    deployments: Mapping[str, Templates],
) -> None:
    for profile, deployment in deployments.items():
        protected = {stack for stack in deployment.templates if deployment.is_protected(stack)}
        assert protected == (set() if profile == "dev" else {"network", "state"})


def names(deployment: Templates) -> set[str]:
    """All names that must be unique within an account: stacks, exports, resources."""
    exports = {
        output["Export"]["Name"]
        for template in deployment.templates.values()
        for output in template.get("Outputs", {}).values()
        if "Export" in output
    }
    return {
        *(path.name for path in deployment.folder.glob("*.template.json")),
        *exports,
        *(name for resource in deployment.resources for name in fixed_names(resource)),
    }


def fixed_names(resource: Resource) -> set[str]:
    properties = (
        "QueueName",
        "LogGroupName",
        "DashboardName",
        "BucketName",
        "TableName",
        "Name",
        "RoleName",
    )
    return {
        str(resource.get(name))
        for name in properties
        if isinstance(resource.get(name), str) and resource.type != "AWS::WAFv2::WebACL"
    }
