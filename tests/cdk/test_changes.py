"""A running deployment can be changed to other settings, or the change is refused."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from itertools import permutations
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from app import PROFILES
from cdk.changes import RULES, fixed_settings, refused_changes
from cdk.commands.check_changes import main as check_changes
from cdk.commands.first_deployment import main as first_deployment
from cdk.commands.service_linked_roles import SERVICES, create_roles
from cdk.settings import Settings
from cdk.template.templates import Templates
from tests.cdk.changes import DEPLOYMENTS, EVERYTHING, exports, imports, replaced
from tests.cdk.synthesized import ROOT, deployed

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient

DATA = ("AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::SecretsManager::Secret")
NAMES = ("QueueName", "LogGroupName", "DashboardName", "Name")


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Templates]:
    """The deployments of ``DEPLOYMENTS``, all as the environment `blue`."""
    return {
        name: deployed(tmp_path_factory.mktemp("blue"), environment="blue", **context)
        for name, context in DEPLOYMENTS.items()
    }


def possible_changes(states: Mapping[str, Templates]) -> Iterator[tuple[str, Templates, Templates]]:
    for (old_name, old), (new_name, new) in permutations(states.items(), 2):
        if not refused(old.settings, new.settings):
            yield f"{old_name} → {new_name}", old, new


def refused(old: Settings, new: Settings) -> list[str]:
    return list(refused_changes(fixed_settings(old), fixed_settings(new)))


def test_every_setting_is_changed_or_refused() -> None:
    """So that the tests below cover all changes that the documentation offers."""
    changed = set(EVERYTHING) | {name for context in DEPLOYMENTS.values() for name in context}
    by_profile = {name for profile in PROFILES.values() for name in profile}

    assert changed | by_profile | RULES.keys() == Settings.model_fields.keys()


def test_no_change_removes_an_export_that_is_in_use(states: Mapping[str, Templates]) -> None:
    """CloudFormation also refuses to change the value of an export that is in use."""
    for name, old, new in possible_changes(states):
        before, after = exports(old), exports(new)
        lost = {export for export in imports(old) if after.get(export) != before[export]}
        assert lost == set(), name


def test_no_change_replaces_what_is_in_use(states: Mapping[str, Templates]) -> None:
    for name, old, new in possible_changes(states):
        used = {
            (resource.stack, resource.logical_id)
            for export in imports(old)
            for resource in old.targets({"Fn::ImportValue": export}, stack="api")
        }
        assert replaced(old, new) & used == set(), name


def test_no_change_replaces_data_or_a_resource_with_a_fixed_name(
    states: Mapping[str, Templates],
) -> None:
    """A replacement is created first, and the name of the old one is taken."""
    for name, old, new in possible_changes(states):
        before = {(resource.stack, resource.logical_id): resource for resource in old.resources}
        for key in replaced(old, new):
            resource = before[key]
            assert resource.type not in DATA, (name, key)
            assert not any(isinstance(resource.get(each), str) for each in NAMES), (name, key)


def test_the_profiles_can_replace_one_another(states: Mapping[str, Templates]) -> None:
    possible = {name for name, _, _ in possible_changes(states)}

    assert {
        "dev → dev with a certificate",
        "dev → standard",
        "standard → private",
        "private → standard",
        "standard → standard with one NAT gateway",
        "standard → standard in three zones",
    } <= possible
    assert "standard in three zones → standard" not in possible


# ── The commands of `make deploy` ─────────────────────────────────────────────────────────────


@pytest.fixture
def cloudformation(monkeypatch: pytest.MonkeyPatch) -> Iterator["CloudFormationClient"]:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    with mock_aws():
        yield boto3.client("cloudformation", region_name="eu-west-1")


def deploy(cloudformation: "CloudFormationClient", settings: Settings) -> None:
    """Create a state stack with the outputs that these settings produce."""
    outputs = {
        "FixedSettings": json.dumps(fixed_settings(settings)),
        "DeletionProtection": str(settings.is_protected).lower(),
    }
    template = {
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
        "Outputs": {name: {"Value": value} for name, value in outputs.items()},
    }
    cloudformation.create_stack(
        StackName=f"taskfleet-{settings.environment}-state", TemplateBody=json.dumps(template)
    )


def test_a_change_that_is_not_possible_is_refused_in_a_sentence(
    states: Mapping[str, Templates], cloudformation: "CloudFormationClient"
) -> None:
    deploy(cloudformation, states["standard in three zones"].settings)

    with pytest.raises(SystemExit) as error:
        check_changes([str(states["standard"].folder), "blue"])

    assert str(error.value.code).startswith(
        "availability_zones cannot change from 3 to 2 after creation: the subnets of a removed "
        "zone are still in use."
    )


def test_a_possible_change_and_a_new_environment_are_accepted(
    states: Mapping[str, Templates], cloudformation: "CloudFormationClient"
) -> None:
    new = str(states["standard in three zones"].folder)

    check_changes([new, "blue"])
    deploy(cloudformation, states["standard"].settings)
    check_changes([new, "blue"])


@pytest.mark.parametrize(
    ("setting", "old", "new", "allowed"),
    [
        ("vpc_cidr", "10.0.0.0/16", "10.1.0.0/16", False),
        ("availability_zones", 2, 3, True),
        ("availability_zones", 3, 2, False),
        ("zone_names", ["a", "b"], ["a", "b", "c"], True),
        ("zone_names", ["a", "b"], ["b", "a"], False),
        ("zone_names", [], ["a", "b"], False),
        ("vpc_id", None, "vpc-1", False),
        ("cluster_name", "one", None, False),
    ],
)
def test_a_rule_allows_only_what_keeps_existing_resources(
    setting: str, old: object, new: object, *, allowed: bool
) -> None:
    values = dict.fromkeys(RULES)

    sentences = list(refused_changes({setting: old}, {**values, setting: new}))

    assert (sentences == []) == allowed
    assert all(sentence.startswith(f"{setting} cannot change from") for sentence in sentences)


def test_protection_waits_for_the_first_success(
    states: Mapping[str, Templates],
    cloudformation: "CloudFormationClient",
    capsys: pytest.CaptureFixture[str],
) -> None:
    def is_first(name: str) -> str:
        first_deployment([str(states[name].folder), "blue"])
        return capsys.readouterr().out.strip()

    assert (is_first("standard"), is_first("dev")) == ("yes", "no")
    deploy(cloudformation, states["standard, before its first success"].settings)
    assert is_first("standard") == "yes"
    cloudformation.delete_stack(StackName="taskfleet-blue-state")
    deploy(cloudformation, states["standard"].settings)
    assert is_first("standard") == "no"


def test_bootstrap_creates_the_service_linked_roles_that_are_missing() -> None:
    """An existing role is refused as invalid input."""
    iam = boto3.client("iam", "us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    with Stubber(iam) as stubbed:
        stubbed.add_client_error("create_service_linked_role", "InvalidInput")
        for _ in SERVICES[1:]:
            stubbed.add_response("create_service_linked_role", {})

        created = create_roles(iam)

    assert created == list(SERVICES[1:])
    assert SERVICES[0] == "ecs.amazonaws.com"


def test_deploy_checks_the_change_before_it_deploys_twice() -> None:
    commands = subprocess.run(
        ["make", "--dry-run", "deploy", "PROFILE=standard", "ENVIRONMENT=blue"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    steps = [
        "cdk synth",
        "cdk.commands.check_changes cdk.out blue",
        "cdk.commands.first_deployment cdk.out blue",
        "-c environment=blue -c deletion_protection=false",
        "--app cdk.out",
        "cdk.commands.next_steps",
    ]
    positions = [commands.find(step) for step in steps]

    assert -1 not in positions, commands
    assert positions == sorted(positions)
