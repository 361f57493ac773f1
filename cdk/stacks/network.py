"""The VPC with its gateways and endpoints, and the ECS cluster."""

from typing import Any

from aws_cdk import Annotations, Aws, CfnWaitConditionHandle, Fn, Stack
from aws_cdk.aws_ec2 import (
    FlowLogDestination,
    FlowLogOptions,
    GatewayVpcEndpointAwsService,
    InterfaceVpcEndpointAwsService,
    IpAddresses,
    IVpc,
    Peer,
    Port,
    SecurityGroup,
    Subnet,
    SubnetConfiguration,
    SubnetSelection,
    SubnetType,
    Vpc,
)
from aws_cdk.aws_ecs import Cluster, ContainerInsights, ICluster
from aws_cdk.aws_iam import AnyPrincipal, PolicyStatement
from constructs import Construct

from cdk.constructs.retention import log_group
from cdk.settings import MAX_ZONES, SUBNETS_PER_ZONE_BITS, Egress, Settings

PUBLIC, NAT, ISOLATED = (
    SubnetType.PUBLIC,
    SubnetType.PRIVATE_WITH_EGRESS,
    SubnetType.PRIVATE_ISOLATED,
)
SUBNET_NAMES = {PUBLIC: "Public", NAT: "Private", ISOLATED: "Internal"}
WORKER_SUBNETS = {Egress.PUBLIC: PUBLIC, Egress.NAT: NAT, Egress.PRIVATE: NAT}
INTERNAL_SUBNETS = {Egress.PUBLIC: PUBLIC, Egress.NAT: NAT, Egress.PRIVATE: ISOLATED}

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
    the reconciler, reach only AWS if egress is private. VPC and cluster may be existing ones.
    """

    load_balancer_subnets: SubnetSelection
    worker_subnets: SubnetSelection
    internal_subnets: SubnetSelection

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, **stack: Any
    ) -> None:
        super().__init__(scope, construct_id, **stack)
        self._settings = settings
        self.assign_public_ip = settings.egress is Egress.PUBLIC
        if settings.vpc_id:
            self._use_existing_vpc(settings.vpc_id)
        else:
            self._create_vpc()
        if settings.internal_load_balancer and not settings.vpc_id:
            self.load_balancer_subnets = self.internal_subnets
        self.cluster = self._cluster()
        if settings.vpc_id and settings.cluster_name:
            # A stack must have a resource. This one does nothing.
            CfnWaitConditionHandle(self, "Nothing")

    @property
    def availability_zones(self) -> list[str]:
        """Chosen by CloudFormation without names: a lookup would need credentials at synthesis."""
        if self._settings.zone_names:
            return list(self._settings.zone_names)
        return [Fn.select(zone, Fn.get_azs()) for zone in range(self._settings.availability_zones)]

    def _create_vpc(self) -> None:
        """Every deployment has the same subnets, and room for those of every zone.

        A change of egress then moves containers, and no subnet is deleted that they still use.
        Subnets cost nothing.
        """
        settings = self._settings
        vpc = Vpc(
            self,
            "Vpc",
            ip_addresses=IpAddresses.cidr(settings.vpc_cidr),
            max_azs=settings.availability_zones,
            reserved_azs=MAX_ZONES - settings.availability_zones,
            nat_gateways=settings.nat_gateways,
            subnet_configuration=[
                SubnetConfiguration(
                    name=name,
                    subnet_type=kind,
                    cidr_mask=settings.vpc_network.prefixlen + SUBNETS_PER_ZONE_BITS,
                )
                for kind, name in SUBNET_NAMES.items()
            ],
            flow_logs={
                "FlowLog": FlowLogOptions(
                    destination=FlowLogDestination.to_cloud_watch_logs(
                        log_group(self, "FlowLogs", settings)
                    )
                )
            },
            # The CDK would need a Lambda function to empty the default group, which is unused.
            restrict_default_security_group=False,
        )
        self.vpc: IVpc = vpc
        self.load_balancer_subnets = SubnetSelection(subnet_type=PUBLIC)
        self.worker_subnets = SubnetSelection(subnet_type=WORKER_SUBNETS[settings.egress])
        self.internal_subnets = SubnetSelection(subnet_type=INTERNAL_SUBNETS[settings.egress])
        self._add_gateway_endpoints(vpc)
        if settings.egress is Egress.PRIVATE:
            self._add_interface_endpoints(vpc)
        self._export(vpc)

    def _export(self, vpc: Vpc) -> None:
        """Export what any deployment may use, even if this one does not.

        The other stacks are updated later. CloudFormation refuses to remove an export that they
        still import.

        Source: "Get exported outputs from a deployed CloudFormation stack", AWS CloudFormation User
        Guide.
        """
        for subnet in vpc.public_subnets + vpc.private_subnets + vpc.isolated_subnets:
            self.export_value(subnet.subnet_id)

    def _use_existing_vpc(self, vpc_id: str) -> None:
        settings = self._settings
        self.vpc = Vpc.from_vpc_attributes(
            self, "Vpc", vpc_id=vpc_id, availability_zones=self.availability_zones
        )
        self.load_balancer_subnets = self._subnets("Public", settings.load_balancer_subnet_ids)
        self.worker_subnets = self._subnets("Worker", settings.worker_subnet_ids)
        self.internal_subnets = self._subnets(
            "Internal", settings.internal_subnet_ids or settings.worker_subnet_ids
        )

    def _subnets(self, name: str, ids: tuple[str, ...]) -> SubnetSelection:
        Annotations.of(self).acknowledge_warning(
            "@aws-cdk/aws-ec2:noSubnetRouteTableId", "Nothing reads the route tables."
        )
        return SubnetSelection(
            subnets=[
                Subnet.from_subnet_id(self, f"{name}{number}", subnet_id)
                for number, subnet_id in enumerate(ids, start=1)
            ]
        )

    def _cluster(self) -> ICluster:
        settings = self._settings
        if settings.cluster_name:
            return Cluster.from_cluster_attributes(
                self, "Cluster", cluster_name=settings.cluster_name, vpc=self.vpc
            )
        cluster = Cluster(
            self,
            "Cluster",
            vpc=self.vpc,
            # Provides RunningTaskCount, which scaling, an alarm and the dashboard read.
            container_insights_v2=ContainerInsights.ENABLED,
            enable_fargate_capacity_providers=True,
        )
        self.export_value(cluster.cluster_arn)
        self.export_value(cluster.cluster_name)
        return cluster

    def _add_gateway_endpoints(self, vpc: Vpc) -> None:
        """S3's endpoint lets anyone read, since it also carries the images that workers download.

        Source: "Control access to VPC endpoints using endpoint policies", AWS PrivateLink Guide.
        """
        bucket = vpc.add_gateway_endpoint("Bucket", service=GatewayVpcEndpointAwsService.S3)
        bucket.add_to_policy(
            PolicyStatement(principals=[AnyPrincipal()], actions=["s3:GetObject"], resources=["*"])
        )
        bucket.add_to_policy(_within_account("s3:PutObject"))
        table = vpc.add_gateway_endpoint("Table", service=GatewayVpcEndpointAwsService.DYNAMODB)
        table.add_to_policy(_within_account("dynamodb:*"))

    def _add_interface_endpoints(self, vpc: Vpc) -> None:
        group = SecurityGroup(
            self,
            "Endpoints",
            vpc=vpc,
            description="Interface endpoints: HTTPS from inside the VPC",
            allow_all_outbound=False,
        )
        for subnet in vpc.isolated_subnets + vpc.private_subnets:
            group.add_ingress_rule(Peer.ipv4(subnet.ipv4_cidr_block), Port.HTTPS)
        for name, service in INTERFACE_ENDPOINTS.items():
            endpoint = vpc.add_interface_endpoint(
                name,
                service=service,
                subnets=self.internal_subnets,
                security_groups=[group],
                open=False,
            )
            endpoint.add_to_policy(
                PolicyStatement(
                    principals=[AnyPrincipal()],
                    actions=["*"],
                    resources=["*"],
                    conditions={"StringEquals": {"aws:PrincipalAccount": Aws.ACCOUNT_ID}},
                )
            )


def _within_account(action: str) -> PolicyStatement:
    """Allows `action` for principals of this account on resources of this account."""
    return PolicyStatement(
        principals=[AnyPrincipal()],
        actions=[action],
        resources=["*"],
        conditions={
            "StringEquals": {
                "aws:PrincipalAccount": Aws.ACCOUNT_ID,
                "aws:ResourceAccount": Aws.ACCOUNT_ID,
            }
        },
    )


def egress_group(
    scope: Construct, construct_id: str, *, vpc: IVpc, description: str, ports: list[Port]
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
