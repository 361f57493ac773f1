"""The subnets of the containers, and which networks they can reach."""

import pytest

from cdk.template.templates import Resource, Templates


def subnets_of(deployment: Templates, service: Resource) -> list[Resource]:
    network = service["NetworkConfiguration"]["AwsvpcConfiguration"]
    return [deployment.target(value, stack=service.stack) for value in network["Subnets"]]


def default_route_of(deployment: Templates, subnet: Resource) -> str | None:
    """The type of gateway in the subnet's default route, or None without such a route."""
    (table,) = (
        association["RouteTableId"]
        for association in deployment.all("EC2::SubnetRouteTableAssociation")
        if association["SubnetId"] == {"Ref": subnet.logical_id}
    )
    for route in deployment.all("EC2::Route", RouteTableId=table):
        if route["DestinationCidrBlock"] == "0.0.0.0/0":
            gateway = route.get("GatewayId") or route.get("NatGatewayId")
            return deployment.target(gateway, stack="network").type
    return None


def default_routes(deployment: Templates, stack: str) -> set[str | None]:
    service = deployment.one("ECS::Service", stack=stack)
    return {default_route_of(deployment, subnet) for subnet in subnets_of(deployment, service)}


def test_s3_and_dynamodb_are_reached_without_the_internet(deployment: Templates) -> None:
    tables = {table.logical_id for table in deployment.all("EC2::RouteTable")}
    for service in ("s3", "dynamodb"):
        (endpoint,) = (
            endpoint
            for endpoint in deployment.all("EC2::VPCEndpoint", VpcEndpointType="Gateway")
            if endpoint["ServiceName"]["Fn::Join"][1][-1] == f".{service}"
        )
        assert {table["Ref"] for table in endpoint["RouteTableIds"]} == tables


def test_dev_has_no_nat_gateway_and_no_interface_endpoint(dev: Templates) -> None:
    assert dev.all("EC2::NatGateway") == []
    assert dev.all("EC2::VPCEndpoint", VpcEndpointType="Interface") == []
    assert (
        default_routes(dev, "worker") == default_routes(dev, "api") == {"AWS::EC2::InternetGateway"}
    )


def test_only_containers_of_dev_have_public_addresses(
    deployments: dict[str, Templates],
) -> None:
    for profile, deployment in deployments.items():
        for service in deployment.all("ECS::Service"):
            network = service["NetworkConfiguration"]["AwsvpcConfiguration"]
            assert network["AssignPublicIp"] == ("ENABLED" if profile == "dev" else "DISABLED")


def test_standard_has_a_nat_gateway_in_each_zone(standard: Templates) -> None:
    gateways = standard.all("EC2::NatGateway")

    zones = {
        str(standard.target(gateway["SubnetId"], stack="network")["AvailabilityZone"])
        for gateway in gateways
    }
    assert len(zones) == len(gateways) == standard.settings.availability_zones
    assert (
        default_routes(standard, "worker")
        == default_routes(standard, "api")
        == {"AWS::EC2::NatGateway"}
    )


def test_in_private_only_workers_reach_the_internet(private: Templates) -> None:
    assert default_routes(private, "worker") == {"AWS::EC2::NatGateway"}
    assert default_routes(private, "api") == {None}

    target = private.one("Scheduler::Schedule")["Target"]["EcsParameters"]
    subnets = target["NetworkConfiguration"]["AwsvpcConfiguration"]["Subnets"]
    for value in subnets:
        assert default_route_of(private, private.target(value, stack="worker")) is None


@pytest.mark.parametrize("service", ["ecr.api", "ecr.dkr", "logs", "secretsmanager", "sqs"])
def test_private_has_interface_endpoints_for_its_containers(
    private: Templates, service: str
) -> None:
    endpoint = private.one(
        "EC2::VPCEndpoint",
        VpcEndpointType="Interface",
        ServiceName=f"com.amazonaws.eu-west-1.{service}",
    )

    assert endpoint["PrivateDnsEnabled"] is True
    (group,) = (private.target(value, stack="network") for value in endpoint["SecurityGroupIds"])
    allowed = {
        (rule["CidrIp"], rule["FromPort"], rule["ToPort"]) for rule in group["SecurityGroupIngress"]
    }
    containers = {
        subnet["CidrBlock"]
        for stack in ("api", "worker")
        for subnet in subnets_of(private, private.one("ECS::Service", stack=stack))
    }
    assert allowed == {(cidr, 443, 443) for cidr in containers}


def test_services_run_in_two_zones(deployment: Templates) -> None:
    for service in deployment.all("ECS::Service"):
        zones = {str(subnet["AvailabilityZone"]) for subnet in subnets_of(deployment, service)}
        assert len(zones) == 2


def test_flow_logs_record_all_traffic(deployment: Templates) -> None:
    log = deployment.one("EC2::FlowLog")

    assert log["TrafficType"] == "ALL"
    assert deployment.target(log["ResourceId"], stack="network").type == "AWS::EC2::VPC"
    group = deployment.target(log["LogGroupName"], stack="network")
    assert group["RetentionInDays"] == deployment.settings.log_retention_days


def test_containers_only_connect_to_web_ports(deployment: Templates) -> None:
    ports = {"api": {443}, "worker": {80, 443}}
    for stack, allowed in ports.items():
        service = deployment.one("ECS::Service", stack=stack)
        (group,) = (
            deployment.target(value, stack=stack)
            for value in service["NetworkConfiguration"]["AwsvpcConfiguration"]["SecurityGroups"]
        )
        rules = group["SecurityGroupEgress"]
        assert {(rule["FromPort"], rule["ToPort"]) for rule in rules} == {(p, p) for p in allowed}
        assert {rule["IpProtocol"] for rule in rules} == {"tcp"}


def test_workers_accept_no_connections(deployment: Templates) -> None:
    for group in deployment.all("EC2::SecurityGroup", stack="worker"):
        assert group.get("SecurityGroupIngress") is None
    assert deployment.all("EC2::SecurityGroupIngress", stack="worker") == []


def test_the_api_only_accepts_connections_of_the_load_balancer(deployment: Templates) -> None:
    service = deployment.one("ECS::Service", stack="api")
    (own,) = service["NetworkConfiguration"]["AwsvpcConfiguration"]["SecurityGroups"]
    balancer = deployment.one("ElasticLoadBalancingV2::LoadBalancer")

    rule = deployment.one("EC2::SecurityGroupIngress", GroupId=own)

    assert [rule["SourceSecurityGroupId"]] == balancer["SecurityGroups"]
    assert rule["FromPort"] == rule["ToPort"] == 8080
    assert deployment.target(own, stack="api").get("SecurityGroupIngress") is None
