"""The VPC with its gateways and endpoints, and the ECS cluster."""

from typing import Any

from aws_cdk import Fn, Stack
from aws_cdk.aws_ec2 import (
    CfnNatGateway,
    FlowLogDestination,
    FlowLogOptions,
    GatewayVpcEndpointAwsService,
    GatewayVpcEndpointOptions,
    InterfaceVpcEndpointAwsService,
    IpAddresses,
    Peer,
    Port,
    SecurityGroup,
    SubnetConfiguration,
    SubnetSelection,
    SubnetType,
    Vpc,
)
from aws_cdk.aws_ecs import Cluster, ContainerInsights
from constructs import Construct

from cdk.constructs.retention import log_group
from cdk.settings import Egress, Settings

PUBLIC, NAT, ISOLATED = (
    SubnetType.PUBLIC,
    SubnetType.PRIVATE_WITH_EGRESS,
    SubnetType.PRIVATE_ISOLATED,
)
SUBNET_NAMES = {PUBLIC: "Public", NAT: "Private", ISOLATED: "Internal"}
WORKER_SUBNETS = {Egress.PUBLIC: PUBLIC, Egress.NAT: NAT, Egress.PRIVATE: NAT}
INTERNAL_SUBNETS = {Egress.PUBLIC: PUBLIC, Egress.NAT: NAT, Egress.PRIVATE: ISOLATED}
SUBNET_MASK = 20
"""A /20 has 4,091 usable addresses."""

INTERFACE_ENDPOINTS = {
    "EcrApi": InterfaceVpcEndpointAwsService.ECR,
    "EcrImages": InterfaceVpcEndpointAwsService.ECR_DOCKER,
    "Logs": InterfaceVpcEndpointAwsService.CLOUDWATCH_LOGS,
    "Secrets": InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
    "Queues": InterfaceVpcEndpointAwsService.SQS,
}
"""Services that containers call. S3 and DynamoDB have gateway endpoints, which are free."""


class NetworkStack(Stack):
    """Attributes: `vpc`, `cluster`, and the subnets of load balancer and containers.

    `worker_subnets` reach the internet, where the images are. `internal_subnets`, for the API and
    the reconciler, reach only AWS if egress is private.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, **stack: Any
    ) -> None:
        super().__init__(scope, construct_id, **stack)
        self._zones = settings.availability_zones
        self._flow_logs = log_group(self, "FlowLogs", settings)

        worker_type, internal_type = (
            WORKER_SUBNETS[settings.egress],
            INTERNAL_SUBNETS[settings.egress],
        )
        self.vpc = Vpc(
            self,
            "Vpc",
            ip_addresses=IpAddresses.cidr(settings.vpc_cidr),
            max_azs=settings.availability_zones,
            nat_gateways=settings.nat_gateways,
            subnet_configuration=[
                SubnetConfiguration(name=name, subnet_type=kind, cidr_mask=SUBNET_MASK)
                for kind, name in SUBNET_NAMES.items()
                if kind in {PUBLIC, worker_type, internal_type}
            ],
            gateway_endpoints={
                "Bucket": GatewayVpcEndpointOptions(service=GatewayVpcEndpointAwsService.S3),
                "Table": GatewayVpcEndpointOptions(service=GatewayVpcEndpointAwsService.DYNAMODB),
            },
            flow_logs={
                "FlowLog": FlowLogOptions(
                    destination=FlowLogDestination.to_cloud_watch_logs(self._flow_logs)
                )
            },
            # The CDK would need a Lambda function to empty the default group, which is unused.
            restrict_default_security_group=False,
        )
        self.public_subnets = SubnetSelection(subnet_type=PUBLIC)
        self.worker_subnets = SubnetSelection(subnet_type=worker_type)
        self.internal_subnets = SubnetSelection(subnet_type=internal_type)
        self.nat_gateway_ids = self._nat_gateway_ids()
        self.assign_public_ip = settings.egress is Egress.PUBLIC
        if settings.egress is Egress.PRIVATE:
            self._add_interface_endpoints()

        self.cluster = Cluster(
            self,
            "Cluster",
            vpc=self.vpc,
            # Provides RunningTaskCount, which scaling, an alarm and the dashboard read.
            container_insights_v2=ContainerInsights.ENABLED,
            enable_fargate_capacity_providers=True,
        )

    @property
    def availability_zones(self) -> list[str]:
        """Chosen by CloudFormation, since a lookup would need credentials at synthesis."""
        return [Fn.select(zone, Fn.get_azs()) for zone in range(self._zones)]

    def _nat_gateway_ids(self) -> list[str]:
        return [
            gateway.ref
            for gateway in self.vpc.node.find_all()
            if isinstance(gateway, CfnNatGateway)
        ]

    def _add_interface_endpoints(self) -> None:
        group = SecurityGroup(
            self,
            "Endpoints",
            vpc=self.vpc,
            description="Interface endpoints: HTTPS from inside the VPC",
            allow_all_outbound=False,
        )
        for subnet in self.vpc.isolated_subnets + self.vpc.private_subnets:
            group.add_ingress_rule(Peer.ipv4(subnet.ipv4_cidr_block), Port.HTTPS)
        for name, service in INTERFACE_ENDPOINTS.items():
            self.vpc.add_interface_endpoint(
                name,
                service=service,
                subnets=self.internal_subnets,
                security_groups=[group],
                open=False,
            )


def egress_group(
    scope: Construct, construct_id: str, *, vpc: Vpc, description: str, ports: list[Port]
) -> SecurityGroup:
    """A security group for containers: no inbound connections, outbound to `ports` only.

    It allows any address. AWS's addresses are public without private egress, and a security group
    cannot exclude addresses. The worker checks the addresses that it downloads from.
    """
    group = SecurityGroup(
        scope, construct_id, vpc=vpc, description=description, allow_all_outbound=False
    )
    for port in ports:
        group.add_egress_rule(Peer.any_ipv4(), port)
    return group
