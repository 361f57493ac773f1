"""The HTTP API: load balancer, firewall, Fargate service and its scaling."""

from typing import Any

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk.aws_certificatemanager import Certificate, CertificateValidation
from aws_cdk.aws_ec2 import Peer, Port, SecurityGroup
from aws_cdk.aws_ecs import (
    AvailabilityZoneRebalancing,
    CapacityProviderStrategy,
    DeploymentCircuitBreaker,
    FargateService,
    HealthCheck,
    PropagatedTagSource,
)
from aws_cdk.aws_elasticloadbalancingv2 import (
    ApplicationLoadBalancer,
    ApplicationProtocol,
    ApplicationTargetGroup,
    DesyncMitigationMode,
    ListenerAction,
    ListenerCertificate,
    TargetType,
)
from aws_cdk.aws_elasticloadbalancingv2 import HealthCheck as TargetHealthCheck
from aws_cdk.aws_iam import PolicyStatement
from aws_cdk.aws_route53 import CfnRecordSet, HostedZone
from aws_cdk.aws_wafv2 import CfnWebACLAssociation
from constructs import Construct

from cdk.constructs.findings import acknowledge, acknowledge_objects
from cdk.constructs.hardened_task import HardenedTask
from cdk.constructs.service_image import ServiceImage
from cdk.constructs.web_acl import WebAcl
from cdk.settings import Settings
from cdk.stacks.network import NetworkStack, egress_group
from cdk.stacks.state import RESULTS, StateStack

PORT = 8080


class ApiStack(Stack):
    """Attributes: `load_balancer`, `target_group`, `service`, `task` and `url`."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        network: NetworkStack,
        state: StateStack,
        **stack: Any,
    ) -> None:
        super().__init__(scope, construct_id, **stack)
        self._settings = settings
        self._network = network
        self._state = state

        self.load_balancer = self._load_balancer()
        self.target_group = self._target_group()
        self._add_listeners()
        self.task = self._task()
        acknowledge_objects(
            self.task,
            state.result_bucket,
            f"{RESULTS}*",
            reason="The API signs download URLs for any result, whatever its key.",
        )
        self.service = self._service()
        self.target_group.add_target(self.service)
        self._add_scaling()
        self._add_firewall()
        if settings.hosted_zone_id:
            self._add_record(settings.hosted_zone_id)

        scheme = "https" if settings.has_https else "http"
        host = settings.domain_name or self.load_balancer.load_balancer_dns_name
        self.url = f"{scheme}://{host}"
        CfnOutput(self, "Url", value=self.url)
        if settings.domain_name:
            CfnOutput(self, "DomainName", value=settings.domain_name)
        CfnOutput(self, "LoadBalancerName", value=self.load_balancer.load_balancer_dns_name)

    def _load_balancer(self) -> ApplicationLoadBalancer:
        settings = self._settings
        group = SecurityGroup(
            self,
            "LoadBalancerGroup",
            vpc=self._network.vpc,
            description="Load balancer: clients in, API containers out",
            allow_all_outbound=False,
        )
        port = Port.HTTPS if settings.has_https else Port.HTTP
        for network in settings.client_networks:
            group.add_ingress_rule(Peer.ipv4(network), port)
        load_balancer = ApplicationLoadBalancer(
            self,
            "LoadBalancer",
            vpc=self._network.vpc,
            vpc_subnets=self._network.load_balancer_subnets,
            internet_facing=not settings.internal_load_balancer,
            security_group=group,
            idle_timeout=Duration.seconds(settings.idle_timeout_s),
            drop_invalid_header_fields=True,
            desync_mitigation_mode=DesyncMitigationMode.STRICTEST,
            deletion_protection=settings.is_protected,
        )
        load_balancer.log_access_logs(self._state.log_bucket, prefix="load-balancer")
        acknowledge(
            group,
            "AwsSolutions-EC23",
            reason="The API is public. The firewall and the API keys control access, and "
            "`client_networks` can restrict the addresses.",
        )
        return load_balancer

    def _target_group(self) -> ApplicationTargetGroup:
        return ApplicationTargetGroup(
            self,
            "Targets",
            vpc=self._network.vpc,
            protocol=ApplicationProtocol.HTTP,
            port=PORT,
            target_type=TargetType.IP,
            deregistration_delay=Duration.seconds(self._settings.deregistration_delay_s),
            health_check=TargetHealthCheck(
                path="/healthz",
                interval=Duration.seconds(10),
                timeout=Duration.seconds(5),
                healthy_threshold_count=2,
                unhealthy_threshold_count=3,
            ),
        )

    def _add_listeners(self) -> None:
        if not self._settings.has_https:
            self.load_balancer.add_listener(
                "Http",
                port=80,
                protocol=ApplicationProtocol.HTTP,
                open=False,
                default_action=ListenerAction.forward([self.target_group]),
            )
            return
        # Port 80 stays closed: a redirect comes after the client has sent its key in clear.
        self.load_balancer.add_listener(
            "Https",
            port=443,
            open=False,
            certificates=[self._certificate()],
            default_action=ListenerAction.forward([self.target_group]),
        )

    def _certificate(self) -> ListenerCertificate:
        settings = self._settings
        if settings.certificate_arn:
            return ListenerCertificate.from_arn(settings.certificate_arn)
        zone = HostedZone.from_hosted_zone_id(self, "Zone", settings.hosted_zone_id or "")
        created = Certificate(
            self,
            "Certificate",
            domain_name=settings.domain_name or "",
            validation=CertificateValidation.from_dns(zone),
        )
        return ListenerCertificate.from_certificate_manager(created)

    def _add_record(self, zone_id: str) -> None:
        """Uses the L1 construct, because the CDK's records need the name of the zone too."""
        CfnRecordSet(
            self,
            "Record",
            hosted_zone_id=zone_id,
            name=self._settings.domain_name or "",
            type="A",
            alias_target=CfnRecordSet.AliasTargetProperty(
                dns_name=self.load_balancer.load_balancer_dns_name,
                hosted_zone_id=self.load_balancer.load_balancer_canonical_hosted_zone_id,
            ),
        )

    def _add_firewall(self) -> None:
        settings, arn = self._settings, self.load_balancer.load_balancer_arn
        match settings.web_acl:
            case "create":
                WebAcl(self, "WebAcl", settings=settings, load_balancer_arn=arn)
            case "none":
                pass
            case existing:
                CfnWebACLAssociation(
                    self, "WebAclAssociation", resource_arn=arn, web_acl_arn=existing
                )

    def _task(self) -> HardenedTask:
        settings, state = self._settings, self._state
        return HardenedTask(
            self,
            "Task",
            settings=settings,
            image=ServiceImage(self, "Image", settings=settings, service="api"),
            cpu=settings.api_cpu,
            memory_mib=settings.api_memory_mib,
            stop_timeout_s=settings.api_stop_timeout_s,
            port=PORT,
            health_check=HealthCheck(
                command=["CMD", "python", "-I", "-S", "services/api/probe.py"],
                interval=Duration.seconds(30),
                timeout=Duration.seconds(10),
                retries=3,
                start_period=Duration.seconds(15),
            ),
            environment={
                "TASKFLEET_ENVIRONMENT": settings.environment,
                "AWS_REGION": self.region,
                "TASK_TABLE": state.table.table_name,
                "TASK_QUEUE_URL": state.queue.queue_url,
                "RESULT_BUCKET": state.result_bucket.bucket_name,
                "API_KEYS_SECRET_ID": state.api_keys.secret_arn,
                "API_PORT": str(PORT),
                "API_PROCESSES": str(settings.api_processes),
                "API_STOP_TIMEOUT_S": str(settings.api_graceful_timeout_s),
                "SUBMISSIONS_PER_MINUTE": str(settings.submissions_per_minute),
                "API_CORS_ORIGINS": ",".join(settings.cors_origins),
                "ROW_RETENTION_S": str(Duration.days(settings.result_retention_days).to_seconds()),
            },
            statements=[
                PolicyStatement(
                    actions=["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"],
                    resources=[state.table.table_arn],
                ),
                PolicyStatement(
                    actions=["sqs:GetQueueAttributes", "sqs:SendMessage"],
                    resources=[state.queue.queue_arn],
                ),
                # For presigned URLs, which have the permissions of their signer.
                PolicyStatement(
                    actions=["s3:GetObject"],
                    resources=[state.result_bucket.arn_for_objects(f"{RESULTS}*")],
                ),
                PolicyStatement(
                    actions=["secretsmanager:GetSecretValue"],
                    resources=[state.api_keys.secret_arn],
                ),
            ],
        )

    def _service(self) -> FargateService:
        group = egress_group(
            self,
            "ServiceGroup",
            vpc=self._network.vpc,
            description="API containers: the load balancer in, AWS out",
            ports=[Port.HTTPS],
        )
        return FargateService(
            self,
            "Service",
            cluster=self._network.cluster,
            task_definition=self.task,
            security_groups=[group],
            vpc_subnets=self._network.internal_subnets,
            assign_public_ip=self._network.assign_public_ip,
            capacity_provider_strategies=[
                CapacityProviderStrategy(capacity_provider="FARGATE", weight=1)
            ],
            propagate_tags=PropagatedTagSource.SERVICE,
            availability_zone_rebalancing=AvailabilityZoneRebalancing.ENABLED,
            enable_execute_command=self._settings.ecs_exec,
            min_healthy_percent=100,
            max_healthy_percent=200,
            circuit_breaker=DeploymentCircuitBreaker(rollback=True),
            health_check_grace_period=Duration.seconds(60),
        )

    def _add_scaling(self) -> None:
        scaling = self.service.auto_scale_task_count(
            min_capacity=self._settings.api_min_tasks, max_capacity=self._settings.api_max_tasks
        )
        scaling.scale_on_request_count(
            "Requests",
            target_group=self.target_group,
            requests_per_target=self._settings.api_requests_per_minute,
            scale_out_cooldown=Duration.seconds(60),
            scale_in_cooldown=Duration.seconds(300),
        )
