"""The zones of the VPC: by name, or the first ones of the region."""

from pathlib import Path

from cdk.template.templates import Templates
from tests.cdk.conftest import CERTIFICATE
from tests.cdk.synthesized import deployed


def zones(deployment: Templates) -> list[str]:
    return sorted({str(each["AvailabilityZone"]) for each in deployment.all("EC2::Subnet")})


def test_zones_can_be_named(tmp_path: Path) -> None:
    """Fargate is missing in a zone of us-west-1 and of ap-northeast-1."""
    named = deployed(
        tmp_path,
        profile="standard",
        certificate_arn=CERTIFICATE,
        zone_names="eu-west-1a,eu-west-1c",
    )

    assert zones(named) == ["eu-west-1a", "eu-west-1c"]


def test_a_small_vpc_has_room_for_three_zones(tmp_path: Path) -> None:
    small = deployed(
        tmp_path,
        profile="standard",
        certificate_arn=CERTIFICATE,
        vpc_cidr="192.168.0.0/23",
        availability_zones="3",
        api_max_tasks="4",
        worker_max_tasks="10",
    )

    assert len(small.all("EC2::Subnet")) == 9
    assert {each["CidrBlock"].split("/")[1] for each in small.all("EC2::Subnet")} == {"27"}
