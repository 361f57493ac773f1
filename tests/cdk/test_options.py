"""The options of platform teams: what each does to the templates."""

from collections.abc import Mapping
from typing import Any

import pytest

from cdk.template.templates import Templates
from tests.cdk.conftest import CERTIFICATE
from tests.cdk.synthesized import deployed

BOUNDARY = "arn:aws:iam::111122223333:policy/boundary"
TOPIC = "arn:aws:sns:eu-west-1:111122223333:operations"
WEB_ACL = "arn:aws:wafv2:eu-west-1:111122223333:regional/webacl/platform/1a2b"

OPTIONS: Mapping[str, Any] = {
    "hosted_zone_id": "Z0123456789ABC",
    "domain_name": "tasks.example.org",
    "internal_load_balancer": "true",
    "web_acl": WEB_ACL,
    "permissions_boundary_arn": BOUNDARY,
    "role_path": "/taskfleet/",
    "tags": "team=images,cost-center=42",
    "alarm_topic_arn": TOPIC,
    "backup_retention_days": "35",
    "ecs_exec": "true",
    "worker_busy_min_tasks": "3",
    "worker_busy_hours": "MON-FRI/8-18",
    "worker_busy_time_zone": "Europe/Berlin",
}


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    return deployed(tmp_path_factory.mktemp("options"), profile="private", **OPTIONS)


def test_a_certificate_and_an_alias_record_are_created_in_the_zone(options: Templates) -> None:
    certificate = options.one("CertificateManager::Certificate")
    record = options.one("Route53::RecordSet")
    listener = options.one("ElasticLoadBalancingV2::Listener")

    assert certificate["DomainName"] == record["Name"] == "tasks.example.org"
    assert certificate["DomainValidationOptions"] == [
        {"DomainName": "tasks.example.org", "HostedZoneId": "Z0123456789ABC"}
    ]
    assert (record["HostedZoneId"], record["Type"]) == ("Z0123456789ABC", "A")
    assert (
        options.target(record["AliasTarget"]["DNSName"], stack="api").type
        == "AWS::ElasticLoadBalancingV2::LoadBalancer"
    )
    assert listener["Port"] == 443
    assert listener["Certificates"] == [{"CertificateArn": {"Ref": certificate.logical_id}}]


def test_an_internal_load_balancer_has_no_public_subnets(options: Templates) -> None:
    balancer = options.one("ElasticLoadBalancingV2::LoadBalancer")
    subnets = [options.target(each, stack="api") for each in balancer["Subnets"]]

    assert balancer["Scheme"] == "internal"
    assert not any(subnet.get("MapPublicIpOnLaunch") for subnet in subnets)


def test_the_firewall_may_be_an_existing_one(options: Templates) -> None:
    association = options.one("WAFv2::WebACLAssociation")

    assert options.all("WAFv2::WebACL") == []
    assert association["WebACLArn"] == WEB_ACL
    assert (
        options.target(association["ResourceArn"], stack="api").type
        == "AWS::ElasticLoadBalancingV2::LoadBalancer"
    )


def test_every_role_has_the_boundary_and_the_path(options: Templates) -> None:
    roles = options.all("IAM::Role")

    assert roles
    assert {role["PermissionsBoundary"] for role in roles} == {BOUNDARY}
    assert {role["Path"] for role in roles} == {"/taskfleet/"}


def test_every_stack_has_the_tags(options: Templates) -> None:
    for kind in ("DynamoDB::Table", "ECS::Service", "EC2::VPC", "SQS::Queue"):
        for resource in options.all(kind):
            tags = {tag["Key"]: tag["Value"] for tag in resource["Tags"]}
            assert tags["team"] == "images"
            assert tags["cost-center"] == "42"


def test_alarms_notify_the_existing_topic(options: Templates) -> None:
    notified = {
        str(action)
        for alarm in options.all("CloudWatch::Alarm", stack="observability")
        for name in ("AlarmActions", "InsufficientDataActions")
        for action in alarm.get(name, ())
    }

    assert options.all("SNS::Topic") == []
    assert notified == {TOPIC}


def test_the_table_is_backed_up_daily(options: Templates) -> None:
    (rule,) = options.one("Backup::BackupPlan")["BackupPlan"]["BackupPlanRule"]
    (resource,) = options.one("Backup::BackupSelection")["BackupSelection"]["Resources"]

    assert rule["Lifecycle"] == {"DeleteAfterDays": 35}
    assert rule["ScheduleExpression"].startswith("cron(0 3 ")
    assert options.table in list(options.targets(resource, stack="state"))


def test_ecs_exec_is_off_unless_asked_for(options: Templates, standard: Templates) -> None:
    """The agent of ECS Exec needs a writable root file system.

    Source: "Monitor Amazon ECS containers with ECS Exec", Amazon ECS Developer Guide.
    """
    for service in ("api", "worker"):
        assert options.one("ECS::Service", stack=service)["EnableExecuteCommand"] is True
        assert options.container(service)["ReadonlyRootFilesystem"] is False
        assert not standard.one("ECS::Service", stack=service).get("EnableExecuteCommand")
        assert standard.container(service)["ReadonlyRootFilesystem"] is True


def test_more_workers_run_in_busy_hours(options: Templates) -> None:
    target = options.one("ApplicationAutoScaling::ScalableTarget", stack="worker")

    assert {
        (
            action["Schedule"],
            action["Timezone"],
            action["ScalableTargetAction"]["MinCapacity"],
        )
        for action in target["ScheduledActions"]
    } == {
        ("cron(0 8 ? * MON-FRI *)", "Europe/Berlin", 3),
        ("cron(0 18 ? * MON-FRI *)", "Europe/Berlin", options.settings.worker_min_tasks),
    }


@pytest.mark.parametrize(
    ("region", "partition"), [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]
)
def test_other_partitions_have_arns_of_their_own(
    tmp_path_factory: pytest.TempPathFactory, region: str, partition: str
) -> None:
    deployment = deployed(
        tmp_path_factory.mktemp(region),
        region=region,
        profile="private",
        certificate_arn=CERTIFICATE.replace("arn:aws:", f"arn:{partition}:").replace(
            "eu-west-1", region
        ),
        github_repository="example/taskfleet",
        backup_retention_days="1",
    )

    for path in deployment.folder.glob("*.template.json"):
        assert "arn:aws:" not in path.read_text(), path.name


def test_no_firewall_is_created_if_none_is_wanted(tmp_path_factory: pytest.TempPathFactory) -> None:
    bare = deployed(tmp_path_factory.mktemp("bare"), profile="dev", web_acl="none")

    assert bare.all("WAFv2::WebACL") == bare.all("WAFv2::WebACLAssociation") == []
