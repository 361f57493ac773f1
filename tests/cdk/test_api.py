"""The load balancer, the firewall and the API service."""

import pytest

from cdk.settings import LONGEST_REQUEST_S
from cdk.template.templates import Resource, Templates
from tests.cdk.synthesized import deployed


def attributes(resource: Resource, name: str) -> dict[str, object]:
    return {attribute["Key"]: attribute["Value"] for attribute in resource[name]}


def balancer_attributes(deployment: Templates) -> dict[str, object]:
    resource = deployment.one("ElasticLoadBalancingV2::LoadBalancer")
    assert resource["Scheme"] == "internet-facing"
    return attributes(resource, "LoadBalancerAttributes")


def listeners(deployment: Templates) -> dict[int, Resource]:
    return {
        listener["Port"]: listener
        for listener in deployment.all("ElasticLoadBalancingV2::Listener")
    }


def web_acl_rules(deployment: Templates) -> dict[str, dict[str, object]]:
    return {rule["Name"]: rule for rule in deployment.one("WAFv2::WebACL")["Rules"]}


def test_the_load_balancer_serves_only_https_with_a_certificate(
    standard: Templates, private: Templates
) -> None:
    """A redirect on port 80 would come after the client has sent its key in clear."""
    for deployment in (standard, private):
        by_port = listeners(deployment)
        (forward,) = by_port[443]["DefaultActions"]

        assert set(by_port) == {443}
        assert open_ports(deployment) == {443}
        assert forward["Type"] == "forward"
        assert by_port[443]["Protocol"] == "HTTPS"
        assert by_port[443]["Certificates"] == [
            {"CertificateArn": deployment.settings.certificate_arn}
        ]
        assert "TLS13-1-2" in by_port[443]["SslPolicy"]


def open_ports(deployment: Templates) -> set[int]:
    balancer = deployment.one("ElasticLoadBalancingV2::LoadBalancer")
    (group,) = (
        deployment.target(value, stack=balancer.stack) for value in balancer["SecurityGroups"]
    )
    return {rule["FromPort"] for rule in group["SecurityGroupIngress"]}


def test_dev_serves_http_without_a_certificate(dev: Templates) -> None:
    by_port = listeners(dev)
    (forward,) = by_port[80]["DefaultActions"]

    assert set(by_port) == {80}
    assert forward["Type"] == "forward"


def test_the_load_balancer_drops_invalid_headers_and_ambiguous_requests(
    deployment: Templates,
) -> None:
    values = balancer_attributes(deployment)

    assert values["routing.http.drop_invalid_header_fields.enabled"] == "true"
    assert values["routing.http.desync_mitigation_mode"] == "strictest"
    assert values["idle_timeout.timeout_seconds"] == str(deployment.settings.idle_timeout_s)


def test_access_logs_may_be_written_to_the_log_bucket(deployment: Templates) -> None:
    values = balancer_attributes(deployment)
    logs = deployment.target(values["access_logs.s3.bucket"], stack="api")
    policy = deployment.one("S3::BucketPolicy", Bucket={"Ref": logs.logical_id})

    assert values["access_logs.s3.enabled"] == "true"
    prefix = f"/{values['access_logs.s3.prefix']}/AWSLogs/111122223333/*"
    assert prefix in [
        statement["Resource"]["Fn::Join"][1][-1]
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow" and statement["Action"] == "s3:PutObject"
    ]


def test_the_load_balancer_has_deletion_protection_outside_dev(
    deployments: dict[str, Templates],
) -> None:
    protected = {
        profile: balancer_attributes(deployment).get("deletion_protection.enabled")
        for profile, deployment in deployments.items()
    }

    assert protected == {"dev": "false", "standard": "true", "private": "true"}


def test_the_load_balancer_checks_healthz(deployment: Templates) -> None:
    assert deployment.one("ElasticLoadBalancingV2::TargetGroup")["HealthCheckPath"] == "/healthz"


def test_no_request_outlasts_the_draining_or_the_graceful_timeout(deployment: Templates) -> None:
    group = deployment.one("ElasticLoadBalancingV2::TargetGroup")
    delay = attributes(group, "TargetGroupAttributes")["deregistration_delay.timeout_seconds"]

    assert int(str(delay)) > LONGEST_REQUEST_S
    assert deployment.settings.api_graceful_timeout_s > LONGEST_REQUEST_S


def test_a_failed_deployment_of_the_api_rolls_back_and_keeps_full_capacity(
    deployment: Templates,
) -> None:
    service = deployment.one("ECS::Service", stack="api")
    configuration = service["DeploymentConfiguration"]

    assert configuration["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    assert configuration["MinimumHealthyPercent"] == 100


def test_the_api_runs_on_demand_in_at_least_two_containers(deployment: Templates) -> None:
    service = deployment.one("ECS::Service", stack="api")
    target = deployment.one("ApplicationAutoScaling::ScalableTarget", stack="api")

    assert [s["CapacityProvider"] for s in service["CapacityProviderStrategy"]] == ["FARGATE"]
    assert target["MinCapacity"] == deployment.settings.api_min_tasks >= 2
    assert target["MaxCapacity"] == deployment.settings.api_max_tasks


def test_the_api_scales_on_requests_per_container(deployment: Templates) -> None:
    policy = deployment.one("ApplicationAutoScaling::ScalingPolicy", stack="api")
    tracking = policy["TargetTrackingScalingPolicyConfiguration"]

    metric = tracking["PredefinedMetricSpecification"]["PredefinedMetricType"]
    assert metric == "ALBRequestCountPerTarget"
    assert tracking["TargetValue"] == deployment.settings.api_requests_per_minute


def test_the_firewall_protects_the_load_balancer(deployment: Templates) -> None:
    association = deployment.one("WAFv2::WebACLAssociation")

    acl = deployment.target(association["WebACLArn"], stack="api")
    protected = deployment.target(association["ResourceArn"], stack="api")

    assert acl.type == "AWS::WAFv2::WebACL"
    assert protected.type == "AWS::ElasticLoadBalancingV2::LoadBalancer"


def test_the_firewall_blocks_known_attacks_and_floods(deployment: Templates) -> None:
    rules = web_acl_rules(deployment)
    limit = rules["RateLimit"]["Statement"]["RateBasedStatement"]  # type: ignore[index]

    assert rules["RateLimit"]["Action"] == {"Block": {}}
    assert limit["AggregateKeyType"] == "IP"
    assert limit["Limit"] == deployment.settings.rate_limit_per_ip
    for name in (
        "AWSManagedRulesCommonRuleSet",
        "AWSManagedRulesKnownBadInputsRuleSet",
        "AWSManagedRulesAmazonIpReputationList",
    ):
        assert rules[name]["OverrideAction"] == {"None": {}}


@pytest.mark.parametrize(
    "rule",
    [
        "NoUserAgent_HEADER",
        "SizeRestrictions_BODY",
        "GenericRFI_BODY",
        "GenericLFI_BODY",
        "CrossSiteScripting_BODY",
        "EC2MetaDataSSRF_BODY",
    ],
)
def test_a_rule_that_would_block_valid_requests_only_counts(
    deployment: Templates, rule: str
) -> None:
    common = web_acl_rules(deployment)["AWSManagedRulesCommonRuleSet"]
    overrides = common["Statement"]["ManagedRuleGroupStatement"]["RuleActionOverrides"]  # type: ignore[index]

    assert {"Name": rule, "ActionToUse": {"Count": {}}} in overrides


def test_the_firewall_hides_api_keys(deployment: Templates) -> None:
    (protected,) = deployment.one("WAFv2::WebACL")["DataProtectionConfig"]["DataProtections"]

    assert protected == {
        "Field": {"FieldType": "SINGLE_HEADER", "FieldKeys": ["authorization"]},
        "Action": "SUBSTITUTION",
    }


def test_the_firewall_logs_blocked_and_counted_requests(deployment: Templates) -> None:
    logging = deployment.one("WAFv2::LoggingConfiguration")
    (destination,) = logging["LogDestinationConfigs"]
    (group,) = deployment.targets(destination, stack="api")
    (log_filter,) = logging["LoggingFilter"]["Filters"]

    assert group["LogGroupName"].startswith("aws-waf-logs-")
    assert ":log-group:" in str(destination)
    assert {c["ActionCondition"]["Action"] for c in log_filter["Conditions"]} >= {"BLOCK", "COUNT"}


def test_only_client_networks_may_connect(tmp_path_factory: pytest.TempPathFactory) -> None:
    deployment = deployed(
        tmp_path_factory.mktemp("narrow"), profile="dev", client_networks="192.0.2.0/24"
    )
    balancer = deployment.one("ElasticLoadBalancingV2::LoadBalancer")
    (group,) = (deployment.target(g, stack="api") for g in balancer["SecurityGroups"])

    assert {rule["CidrIp"] for rule in group["SecurityGroupIngress"]} == {"192.0.2.0/24"}
