"""``taskctl doctor --preflight`` names what a first deployment would fail on."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from taskctl.cli import cli
from taskctl.deployment_check import CheckResult
from taskctl.preflight import ADDRESSES, FARGATE_VCPUS, VPCS, Plan, Preflight

CERTIFICATE = "arn:aws:acm:eu-west-1:111122223333:certificate/1"
PLAN = Plan(
    certificate_arn=CERTIFICATE,
    bootstrap_qualifier="hnb659fds",
    architecture="X86_64",
    new_vpcs=1,
    nat_gateways=2,
    vcpus=3.25,
)


class Account:
    """All services of an account in which everything is ready. A test may change anything."""

    def __init__(self) -> None:
        self.bootstrap_version: str | None = "30"
        self.certificate_status = "ISSUED"
        self.vpcs, self.addresses = 1, 0
        self.quotas = {VPCS: 5.0, ADDRESSES: 5.0, FARGATE_VCPUS: 6.0}
        self.platforms = "Platforms: linux/amd64, linux/386"

    def check(self, plan: Plan = PLAN) -> Mapping[str, CheckResult]:
        preflight = Preflight(plan, client=lambda _service: self, platforms=lambda: self.platforms)
        return {result.check: result for result in preflight.run()}

    def get_caller_identity(self) -> Any:
        return {"Account": "111122223333", "Arn": "arn:aws:iam::111122223333:user/me"}

    def get_parameter(self, Name: str) -> Any:  # noqa: N803 - the names of boto3
        assert Name == "/cdk-bootstrap/hnb659fds/version"
        if self.bootstrap_version is None:
            raise ClientError({"Error": {"Code": "ParameterNotFound"}}, "GetParameter")
        return {"Parameter": {"Value": self.bootstrap_version}}

    def describe_certificate(self, CertificateArn: str) -> Any:  # noqa: N803
        assert CertificateArn == CERTIFICATE
        return {
            "Certificate": {"Status": self.certificate_status, "DomainName": "tasks.example.org"}
        }

    def describe_vpcs(self) -> Any:
        return {"Vpcs": [{}] * self.vpcs}

    def describe_addresses(self) -> Any:
        return {"Addresses": [{}] * self.addresses}

    def get_service_quota(self, ServiceCode: str, QuotaCode: str) -> Any:  # noqa: N803
        return {"Quota": {"Value": self.quotas[ServiceCode, QuotaCode]}}


def failures(results: Mapping[str, CheckResult]) -> Mapping[str, str]:
    return {name: result.message for name, result in results.items() if not result.ok}


def test_an_account_that_is_ready_passes_every_check() -> None:
    results = Account().check()

    assert failures(results) == {}
    assert results["account"].message.startswith("111122223333")


def test_a_region_without_bootstrap_is_reported_with_the_command() -> None:
    account = Account()
    account.bootstrap_version = None
    assert "make bootstrap" in failures(account.check())["bootstrap"]
    account.bootstrap_version = "5"
    assert "version 5" in failures(account.check())["bootstrap"]


def test_a_certificate_that_is_not_issued_is_reported() -> None:
    account = Account()
    account.certificate_status = "PENDING_VALIDATION"

    assert "PENDING_VALIDATION" in failures(account.check())["certificate"]


@pytest.mark.parametrize(
    ("quota", "check"),
    [(VPCS, "VPCs"), (ADDRESSES, "Elastic IP addresses"), (FARGATE_VCPUS, "Fargate vCPUs")],
)
def test_a_quota_that_is_too_low_is_reported_with_its_code(
    quota: tuple[str, str], check: str
) -> None:
    account = Account()
    account.quotas[quota] = 1

    found = failures(account.check())

    assert set(found) == {check}
    assert quota[1] in found[check]


def test_an_existing_vpc_needs_no_room_for_another() -> None:
    account = Account()
    account.vpcs, account.addresses = 5, 5

    assert failures(account.check(replace(PLAN, new_vpcs=0, nat_gateways=0))) == {}


def test_a_builder_that_cannot_produce_the_architecture_is_reported() -> None:
    found = failures(Account().check(replace(PLAN, architecture="ARM64")))

    assert "linux/arm64" in found["builder"]


def test_the_doctor_needs_a_url_or_the_preflight() -> None:
    result = CliRunner().invoke(cli, ["doctor"])

    assert result.exit_code == 2
    assert "--preflight" in result.output
