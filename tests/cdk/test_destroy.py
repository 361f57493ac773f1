"""`make destroy` checks the settings first and reports stacks that remain."""

import json
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
import pytest
from moto import mock_aws

from cdk.commands.remaining_stacks import main
from tests.cdk.synthesized import ROOT

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient


@pytest.fixture
def cloudformation(monkeypatch: pytest.MonkeyPatch) -> Iterator["CloudFormationClient"]:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    with mock_aws():
        yield boto3.client("cloudformation", region_name="eu-west-1")


def deploy(cloudformation: "CloudFormationClient", *names: str) -> None:
    template = json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}})
    for name in names:
        cloudformation.create_stack(StackName=name, TemplateBody=template)


def test_destroy_checks_the_settings_before_it_empties_buckets() -> None:
    commands = subprocess.run(
        ["make", "--dry-run", "destroy", "PROFILE=standard", "ENVIRONMENT=blue"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    steps = [
        "cdk synth",
        "cdk.commands.empty_buckets blue",
        "cdk destroy --all",
        "cdk.commands.remaining_stacks blue",
    ]
    positions = [commands.find(step) for step in steps]

    assert -1 not in positions, commands
    assert positions == sorted(positions)
    (synth,) = (line for line in commands.splitlines() if "cdk synth" in line)
    assert "-c profile=standard -c environment=blue" in synth


def test_remaining_stacks_are_named(cloudformation: "CloudFormationClient") -> None:
    deploy(cloudformation, "taskfleet-blue-delivery", "taskfleet-blue-state")

    with pytest.raises(SystemExit) as error:
        main(["blue"])

    assert "remain: taskfleet-blue-delivery, taskfleet-blue-state." in str(error.value.code)
    assert "SETTINGS" in str(error.value.code)


def test_stacks_of_other_environments_are_ignored(cloudformation: "CloudFormationClient") -> None:
    deploy(cloudformation, "taskfleet-green-state", "taskfleet-blue-2-state", "CDKToolkit")

    main(["blue"])


def test_deleted_stacks_are_ignored(cloudformation: "CloudFormationClient") -> None:
    deploy(cloudformation, "taskfleet-blue-state")
    cloudformation.delete_stack(StackName="taskfleet-blue-state")

    main(["blue"])
