"""The API's edge and service."""

import pytest

from cdk.template.templates import Resource, Templates
from tests.cdk.synthesized import deployed

LONGEST_REQUEST_S = 20
"""`Prefer: wait=20` is the most that a client may ask for."""


def attributes(resource: Resource, name: str) -> dict[str, object]:
    return {attribute["Key"]: attribute["Value"] for attribute in resource[name]}


def balancer(deployment: Templates) -> dict[str, object]:
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


def test_https_is_served_and_http_leads_to_it(standard: Templates, private: Templates) -> None:
    for deployment in (standard, private):
        by_port = listeners(deployment)
        (redirect,) = by_port[80]["DefaultActions"]
        (forward,) = by_port[443]["DefaultActions"]

        assert set(by_port) == {80, 443}
        assert redirect["RedirectConfig"] == {
            "Port": "443",
            "Protocol": "HTTPS",
            "StatusCode": "HTTP_301",
        }
        assert forward["Type"] == "forward"
        assert by_port[443]["Protocol"] == "HTTPS"
        assert by_port[443]["Certificates"] == [
            {"CertificateArn": deployment.settings.certificate_arn}
        ]
        assert "TLS13-1-2" in by_port[443]["SslPolicy"]


def test_dev_without_a_certificate_serves_http(dev: Templates) -> None:
    by_port = listeners(dev)
    (forward,) = by_port[80]["DefaultActions"]

    assert set(by_port) == {80}
    assert forward["Type"] == "forward"


def test_connections_and_headers_are_handled_strictly(deployment: Templates) -> None:
    values = balancer(deployment)

    assert values["routing.http.drop_invalid_header_fields.enabled"] == "true"
    assert values["routing.http.desync_mitigation_mode"] == "strictest"
    assert values["idle_timeout.timeout_seconds"] == str(deployment.settings.idle_timeout_s)


def test_requests_are_logged(deployment: Templates) -> None:
    values = balancer(deployment)
    logs = deployment.target(values["access_logs.s3.bucket"], stack="api")
    policy = deployment.one("S3::BucketPolicy", Bucket={"Ref": logs.logical_id})

    assert values["access_logs.s3.enabled"] == "true"
    prefix = f"/{values['access_logs.s3.prefix']}/AWSLogs/111122223333/*"
    assert prefix in [
        statement["Resource"]["Fn::Join"][1][-1]
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow" and statement["Action"] == "s3:PutObject"
    ]


def test_the_balancer_is_protected_outside_dev(deployments: dict[str, Templates]) -> None:
    protected = {
        profile: balancer(deployment).get("deletion_protection.enabled")
        for profile, deployment in deployments.items()
    }

    assert protected == {"dev": "false", "standard": "true", "private": "true"}


def test_a_container_is_healthy_when_healthz_says_so(deployment: Templates) -> None:
    assert deployment.one("ElasticLoadBalancingV2::TargetGroup")["HealthCheckPath"] == "/healthz"


def test_a_leaving_container_finishes_the_longest_request(deployment: Templates) -> None:
    group = deployment.one("ElasticLoadBalancingV2::TargetGroup")
    delay = attributes(group, "TargetGroupAttributes")["deregistration_delay.timeout_seconds"]

    assert int(str(delay)) > LONGEST_REQUEST_S
    assert deployment.settings.api_graceful_timeout_s > LONGEST_REQUEST_S


def test_a_failed_deployment_rolls_back_and_never_takes_capacity_away(
    deployment: Templates,
) -> None:
    service = deployment.one("ECS::Service", stack="api")
    configuration = service["DeploymentConfiguration"]

    assert configuration["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    assert configuration["MinimumHealthyPercent"] == 100


def test_the_api_runs_on_demand_in_two_containers_and_more(deployment: Templates) -> None:
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


def test_the_firewall_stands_before_the_balancer(deployment: Templates) -> None:
    association = deployment.one("WAFv2::WebACLAssociation")

    acl = deployment.target(association["WebACLArn"], stack="api")
    guarded = deployment.target(association["ResourceArn"], stack="api")

    assert acl.type == "AWS::WAFv2::WebACL"
    assert guarded.type == "AWS::ElasticLoadBalancingV2::LoadBalancer"


def test_known_attackers_and_floods_are_blocked(deployment: Templates) -> None:
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
        "SizeRestrictions_BODY",
        "GenericRFI_BODY",
        "GenericLFI_BODY",
        "CrossSiteScripting_BODY",
        "EC2MetaDataSSRF_BODY",
    ],
)
def test_rules_that_take_an_image_url_for_an_attack_only_count(
    deployment: Templates, rule: str
) -> None:
    common = web_acl_rules(deployment)["AWSManagedRulesCommonRuleSet"]
    overrides = common["Statement"]["ManagedRuleGroupStatement"]["RuleActionOverrides"]  # type: ignore[index]

    assert {"Name": rule, "ActionToUse": {"Count": {}}} in overrides


def test_the_firewall_shows_nobody_a_key(deployment: Templates) -> None:
    (protected,) = deployment.one("WAFv2::WebACL")["DataProtectionConfig"]["DataProtections"]

    assert protected == {
        "Field": {"FieldType": "SINGLE_HEADER", "FieldKeys": ["authorization"]},
        "Action": "SUBSTITUTION",
    }


def test_what_the_firewall_blocks_or_counts_is_logged(deployment: Templates) -> None:
    logging = deployment.one("WAFv2::LoggingConfiguration")
    (destination,) = logging["LogDestinationConfigs"]
    (group,) = deployment.targets(destination, stack="api")
    (kept,) = logging["LoggingFilter"]["Filters"]

    assert group["LogGroupName"].startswith("aws-waf-logs-")
    assert ":log-group:" in str(destination)
    assert {c["ActionCondition"]["Action"] for c in kept["Conditions"]} >= {"BLOCK", "COUNT"}


def test_only_the_given_networks_may_connect(tmp_path_factory: pytest.TempPathFactory) -> None:
    deployment = deployed(
        tmp_path_factory.mktemp("narrow"), profile="dev", client_networks="192.0.2.0/24"
    )
    balancer = deployment.one("ElasticLoadBalancingV2::LoadBalancer")
    (group,) = (deployment.target(g, stack="api") for g in balancer["SecurityGroups"])

    assert {rule["CidrIp"] for rule in group["SecurityGroupIngress"]} == {"192.0.2.0/24"}
