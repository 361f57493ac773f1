"""A deployment in a VPC and a cluster that exist already."""

from collections.abc import Mapping
from typing import Any

import pytest

from cdk.template.templates import Resource, Templates
from tests.cdk.changes import EXISTING_VPC
from tests.cdk.conftest import CERTIFICATE
from tests.cdk.synthesized import deployed

CLUSTER = "platform"


@pytest.fixture(scope="module")
def existing(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    return deployed(
        tmp_path_factory.mktemp("existing"),
        profile="standard",
        certificate_arn=CERTIFICATE,
        cluster_name=CLUSTER,
        internal_subnet_ids="subnet-00000005,subnet-00000006",
        **EXISTING_VPC,
    )


def network_of(service: Resource) -> Mapping[str, Any]:
    network: Mapping[str, Any] = service["NetworkConfiguration"]["AwsvpcConfiguration"]
    return network


def test_no_network_and_no_cluster_are_created(existing: Templates) -> None:
    assert existing.all("EC2::VPC") == existing.all("EC2::Subnet") == []
    assert existing.all("EC2::VPCEndpoint") == existing.all("ECS::Cluster") == []


def test_each_part_runs_in_its_subnets(existing: Templates) -> None:
    balancer = existing.one("ElasticLoadBalancingV2::LoadBalancer")
    reconciler = existing.one("Scheduler::Schedule")["Target"]["EcsParameters"]

    assert balancer["Subnets"] == ["subnet-00000001", "subnet-00000002"]
    assert network_of(existing.one("ECS::Service", stack="worker"))["Subnets"] == [
        "subnet-00000003",
        "subnet-00000004",
    ]
    for network in (network_of(existing.one("ECS::Service", stack="api")), network_of(reconciler)):
        assert network["Subnets"] == ["subnet-00000005", "subnet-00000006"]
        assert network["AssignPublicIp"] == "DISABLED"


def test_security_groups_belong_to_the_vpc(existing: Templates) -> None:
    vpcs = {group["VpcId"] for group in existing.all("EC2::SecurityGroup")}

    assert vpcs == {EXISTING_VPC["vpc_id"]}
    assert existing.one("ElasticLoadBalancingV2::TargetGroup")["VpcId"] == EXISTING_VPC["vpc_id"]


def test_services_and_scaling_use_the_cluster(existing: Templates) -> None:
    assert {service["Cluster"] for service in existing.all("ECS::Service")} == {CLUSTER}
    for target in existing.all("ApplicationAutoScaling::ScalableTarget"):
        assert f"service/{CLUSTER}/" in str(target["ResourceId"])


def test_workers_never_download_from_the_vpc(existing: Templates) -> None:
    variables = {
        each["Name"]: each["Value"] for each in existing.container("worker")["Environment"]
    }

    assert variables["FETCH_DENIED_NETWORKS"] == EXISTING_VPC["denied_networks"]
