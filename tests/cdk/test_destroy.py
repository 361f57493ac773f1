"""`make destroy`: in which order it goes, and what it may not leave."""

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


def test_nothing_is_emptied_before_the_settings_are_known_to_be_right() -> None:
    shown = subprocess.run(
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
    places = [shown.find(step) for step in steps]

    assert -1 not in places, shown
    assert places == sorted(places)
    (synth,) = (line for line in shown.splitlines() if "cdk synth" in line)
    assert "-c profile=standard -c environment=blue" in synth


def test_a_stack_that_is_left_is_named(cloudformation: "CloudFormationClient") -> None:
    deploy(cloudformation, "taskfleet-blue-delivery", "taskfleet-blue-state")

    with pytest.raises(SystemExit) as left:
        main(["blue"])

    assert str(left.value.code).startswith("taskfleet-blue-delivery, taskfleet-blue-state:")
    assert "SETTINGS" in str(left.value.code)


def test_other_environments_may_stay(cloudformation: "CloudFormationClient") -> None:
    deploy(cloudformation, "taskfleet-green-state", "taskfleet-blue-2-state", "CDKToolkit")

    main(["blue"])


def test_a_deleted_stack_is_not_left(cloudformation: "CloudFormationClient") -> None:
    deploy(cloudformation, "taskfleet-blue-state")
    cloudformation.delete_stack(StackName="taskfleet-blue-state")

    main(["blue"])
