"""The roles that GitHub's workflows assume to deploy without a stored key."""

import pytest

from cdk.template.grants import grants
from cdk.template.templates import Resource, Templates
from tests.cdk.synthesized import deployed

ISSUER = "token.actions.githubusercontent.com"
PROVIDER = f"arn:aws:iam::111122223333:oidc-provider/{ISSUER}"


def roles(deployment: Templates) -> dict[str, Resource]:
    """The delivery stack's roles, by the workflow that may assume them."""
    return {
        conditions(role)["StringEquals"][f"{ISSUER}:sub"]: role
        for role in deployment.all("IAM::Role", stack="delivery")
    }


def conditions(role: Resource) -> dict[str, dict[str, str]]:
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    found: dict[str, dict[str, str]] = statement["Condition"]
    return found


def assumable(deployment: Templates, role: Resource) -> set[str]:
    allowed = list(grants(deployment, role))
    assert {grant.action for grant in allowed} == {"sts:AssumeRole"}
    return {grant.resource.rsplit("/", 1)[1] for grant in allowed}


def test_a_workflow_of_the_environment_may_deploy(standard: Templates) -> None:
    role = roles(standard)["repo:example/taskfleet:environment:standard"]

    assert assumable(standard, role) == {
        f"cdk-hnb659fds-{part}-role-111122223333-eu-west-1"
        for part in ("deploy", "file-publishing", "image-publishing", "lookup")
    }


def test_a_pull_request_may_only_read(standard: Templates) -> None:
    role = roles(standard)["repo:example/taskfleet:pull_request"]

    assert assumable(standard, role) == {"cdk-hnb659fds-lookup-role-111122223333-eu-west-1"}


def test_no_other_workflow_is_trusted(standard: Templates) -> None:
    assert set(roles(standard)) == {
        "repo:example/taskfleet:environment:standard",
        "repo:example/taskfleet:pull_request",
    }
    for role in roles(standard).values():
        assert set(conditions(role)) == {"StringEquals"}
        assert conditions(role)["StringEquals"][f"{ISSUER}:aud"] == "sts.amazonaws.com"


def test_the_oidc_provider_is_created_by_default(standard: Templates) -> None:
    provider = standard.one("IAM::OIDCProvider")

    assert provider["Url"] == f"https://{ISSUER}"
    assert provider["ClientIdList"] == ["sts.amazonaws.com"]
    assert provider.body["DeletionPolicy"] == "RetainExceptOnCreate"
    for role in roles(standard).values():
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        federated = statement["Principal"]["Federated"]
        assert standard.target(federated, stack="delivery") == provider


def test_an_existing_oidc_provider_is_used(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    deployment = deployed(
        tmp_path_factory.mktemp("provider"),
        profile="dev",
        github_repository="example/taskfleet",
        oidc_provider_arn=PROVIDER,
    )

    assert deployment.all("IAM::OIDCProvider") == []
    for role in roles(deployment).values():
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Federated": PROVIDER}


def test_there_is_no_delivery_stack_without_a_repository(dev: Templates) -> None:
    assert "delivery" not in dev.templates
