"""The templates pass cfn-lint and cdk-nag, and follow two rules of our own."""

import json
from pathlib import Path

import pytest
from aws_cdk import App, Stack
from aws_cdk.aws_sqs import Queue
from cfnlint.api import lint_file  # type: ignore[import-untyped]

from app import PROFILES, build
from cdk.settings import load_settings
from cdk.template.templates import Templates
from tests.cdk.synthesized import ENV, cdk_context


def test_cfn_lint_finds_nothing(deployment: Templates) -> None:
    templates = [str(path) for path in sorted(deployment.folder.glob("*.template.json"))]

    found = [match for template in templates for match in lint_file(Path(template))]

    assert found == []


def test_a_finding_of_cdk_nag_fails_the_synthesis(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    context = {**cdk_context(), "profile": "dev"}
    app = App(context=context, outdir=str(tmp_path_factory.mktemp("unencrypted")))
    build(app, load_settings(context, profiles=PROFILES), ENV)
    Queue(Stack(app, "Unencrypted"), "Queue")

    with pytest.raises(RuntimeError, match="AwsSolutions-SQS4"):
        app.synth()


def test_every_accepted_finding_has_a_reason(deployment: Templates) -> None:
    accepted = {
        rule: reason
        for path in deployment.folder.glob("*.metadata.json")
        for entries in json.loads(path.read_text()).values()
        for entry in entries
        if entry["type"] == "aws:cdk:acknowledged-rules"
        for rule, reason in entry["data"].items()
        if "AwsSolutions" in rule
    }

    assert accepted
    assert [rule for rule, reason in accepted.items() if len(reason.split()) < 8] == []


def test_there_is_no_lambda_function_and_no_custom_resource(deployment: Templates) -> None:
    types = {resource.type for resource in deployment.resources}

    assert not {t for t in types if t.startswith(("AWS::Lambda::", "Custom::"))}
    assert "AWS::CloudFormation::CustomResource" not in types
