"""Checks an account before the first deployment, without changing anything."""

import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from taskctl.deployment_check import CheckResult
from taskctl.errors import OperatorError, report_aws_errors

BOOTSTRAP_VERSION = 6
"""The oldest version of the CDK bootstrap that the templates accept: their rule
``CheckBootstrapVersion``."""

ARCHITECTURES: Mapping[str, str] = {"X86_64": "linux/amd64", "ARM64": "linux/arm64"}

VPCS = ("vpc", "L-F678F1CE")
ADDRESSES = ("ec2", "L-0263D0A3")
FARGATE_VCPUS = ("fargate", "L-3032A538")
"""Service and code of the quotas. Source: "Service quotas", AWS General Reference."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a deployment needs. An existing VPC needs neither a VPC nor addresses."""

    certificate_arn: str | None
    bootstrap_qualifier: str
    architecture: str
    new_vpcs: int
    nat_gateways: int
    vcpus: float


def docker_platforms() -> str:
    """The platforms that Docker can build, as ``docker buildx inspect`` prints them."""
    try:
        return subprocess.run(
            ["docker", "buildx", "inspect"],  # noqa: S607 - the operator's Docker
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise OperatorError("Docker with buildx does not answer.") from error


class Preflight:
    """`client` returns the boto3 client of a service. Stubs for some of them are not installed."""

    def __init__(
        self, plan: Plan, *, client: Callable[[str], Any], platforms: Callable[[], str]
    ) -> None:
        self._plan = plan
        self._client = client
        self._platforms = platforms

    def run(self) -> Iterator[CheckResult]:
        """All results. Unlike in the check of a deployment, no check depends on another."""
        checks: Mapping[str, Callable[[], str]] = {
            "account": self._account,
            "bootstrap": self._bootstrap,
            "certificate": self._certificate,
            "VPCs": self._vpcs,
            "Elastic IP addresses": self._addresses,
            "Fargate vCPUs": self._vcpus,
            "builder": self._builder,
        }
        for name, check in checks.items():
            try:
                with report_aws_errors("AWS refuses the check"):
                    yield CheckResult(name, check())
            except OperatorError as error:
                yield CheckResult(name, str(error), ok=False)

    def _account(self) -> str:
        identity = self._client("sts").get_caller_identity()
        return f"{identity['Account']}, as {identity['Arn']}."

    def _bootstrap(self) -> str:
        name = f"/cdk-bootstrap/{self._plan.bootstrap_qualifier}/version"
        try:
            parameter = self._client("ssm").get_parameter(Name=name)["Parameter"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ParameterNotFound":
                raise OperatorError(
                    "The region is not bootstrapped. Run `make bootstrap`."
                ) from None
            raise
        if int(parameter["Value"]) < BOOTSTRAP_VERSION:
            raise OperatorError(
                f"The bootstrap has version {parameter['Value']}, and {BOOTSTRAP_VERSION} is "
                "needed. Run `make bootstrap`."
            )
        return f"version {parameter['Value']}."

    def _certificate(self) -> str:
        if self._plan.certificate_arn is None:
            return "none is given."
        found = self._client("acm").describe_certificate(CertificateArn=self._plan.certificate_arn)
        status = found["Certificate"]["Status"]
        if status != "ISSUED":
            raise OperatorError(f"The certificate has the status {status} instead of ISSUED.")
        return f"issued for {found['Certificate']['DomainName']}."

    def _vpcs(self) -> str:
        used = len(self._client("ec2").describe_vpcs()["Vpcs"])
        return self._room(VPCS, used=used, needed=self._plan.new_vpcs)

    def _addresses(self) -> str:
        used = len(self._client("ec2").describe_addresses()["Addresses"])
        return self._room(ADDRESSES, used=used, needed=self._plan.nat_gateways)

    def _vcpus(self) -> str:
        """Service Quotas does not say how many are in use."""
        return self._room(FARGATE_VCPUS, used=0, needed=self._plan.vcpus)

    def _room(self, quota: tuple[str, str], *, used: int, needed: float) -> str:
        service, code = quota
        answer = self._client("service-quotas").get_service_quota(
            ServiceCode=service, QuotaCode=code
        )
        limit = answer["Quota"]["Value"]
        sentence = f"{needed:g} needed, {used} in use, {limit:g} allowed."
        if used + needed > limit:
            raise OperatorError(f"{sentence} Request an increase of quota {code} of {service}.")
        return sentence

    def _builder(self) -> str:
        platform = ARCHITECTURES[self._plan.architecture]
        if platform not in self._platforms():
            raise OperatorError(
                f"Docker cannot build {platform}. Choose another cpu_architecture, or install its "
                "emulation."
            )
        return f"Docker builds {platform}."
