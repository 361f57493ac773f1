"""Settings override their profile, and invalid ones are refused with one sentence."""

import pytest
from pydantic import ValidationError

from app import PROFILES
from cdk.settings import Egress, Settings, SettingsError, load_settings
from taskctl.commands.doctor import NAT_GATEWAYS, VCPUS
from tests.cdk.changes import EXISTING_VPC
from tests.cdk.conftest import CERTIFICATE


def standard(**context: object) -> Settings:
    return load_settings(
        {"profile": "standard", "certificate_arn": CERTIFICATE, **context}, profiles=PROFILES
    )


def error_of(**context: object) -> str:
    with pytest.raises(SettingsError) as refused:
        standard(**context)
    return str(refused.value)


def test_settings_are_immutable() -> None:
    settings = standard()

    with pytest.raises(ValidationError, match="frozen"):
        settings.worker_max_tasks = 100  # type: ignore[misc]


def test_context_overrides_the_profile() -> None:
    settings = standard(worker_max_tasks="40", client_networks="192.0.2.0/24,198.51.100.0/24")

    assert settings.worker_max_tasks == 40
    assert settings.client_networks == ("192.0.2.0/24", "198.51.100.0/24")
    assert settings.egress is Egress.NAT


def test_an_environment_has_the_name_of_its_profile_by_default() -> None:
    assert standard().environment == "standard"
    assert standard(environment="blue").environment == "blue"


def test_context_of_the_cdk_itself_is_ignored() -> None:
    assert standard(**{"@aws-cdk/core:checkSecretUsage": True, "aws:cdk:enable-asset-metadata": 1})


def test_a_deployment_keeps_its_data_by_default() -> None:
    assert not standard().disposable


@pytest.mark.parametrize(
    ("context", "named"),
    [
        pytest.param(
            {"profile": "prod"},
            ["'prod'", "dev, standard, private"],
            id="unknown profile",
        ),
        pytest.param(
            {"worker_max_task": "9"},
            ["'worker_max_task'", "'worker_max_tasks'"],
            id="unknown setting with a similar name",
        ),
        pytest.param({"color": "blue"}, ["'color'"], id="unknown setting"),
        pytest.param({"api_cpu": "many"}, ["api_cpu", "'many'"], id="text instead of a number"),
        pytest.param(
            {"environment": "Blue_1"}, ["environment", "'Blue_1'"], id="invalid environment name"
        ),
        pytest.param(
            {"worker_spot_percent": "101"},
            ["worker_spot_percent", "100"],
            id="percentage above 100",
        ),
        pytest.param({"api_min_tasks": "1"}, ["api_min_tasks", "2"], id="one API container"),
        pytest.param(
            {"github_repository": "taskfleet"},
            ["github_repository"],
            id="repository without an owner",
        ),
        pytest.param(
            {"visibility_timeout_s": "39"},
            ["visibility_timeout_s (39)", "heartbeat_interval_s (20)"],
            id="one late heartbeat loses the lease",
        ),
        pytest.param(
            {"processing_budget_s": "120"},
            ["processing_budget_s (120)", "worker_stop_timeout_s (120)"],
            id="an attempt outlasts a worker that stops",
        ),
        pytest.param(
            {"api_graceful_timeout_s": "30"},
            ["api_graceful_timeout_s (30)", "api_stop_timeout_s (30)"],
            id="a request outlasts an API container that stops",
        ),
        pytest.param(
            {"imaging_memory_mib": "1537"},
            ["worker_memory_mib (4096)", "imaging_memory_mib", "2 consumer processes", "4098"],
            id="imaging processes exceed the memory",
        ),
        pytest.param(
            {"queue_retention_days": "14"},
            ["dead_letter_retention_days (14)", "queue_retention_days (14)"],
            id="dead letters expire with the queue",
        ),
        pytest.param(
            {"worker_min_tasks": "21"},
            ["worker_min_tasks (21)", "worker_max_tasks (20)"],
            id="more workers at least than at most",
        ),
        pytest.param(
            {"api_min_tasks": "11"},
            ["api_min_tasks (11)", "api_max_tasks (10)"],
            id="more API containers at least than at most",
        ),
        pytest.param(
            {"worker_min_tasks": "0", "worker_from_zero_tasks": "0"},
            ["worker_min_tasks (0)", "worker_from_zero_tasks (0)"],
            id="nothing starts the first worker",
        ),
        pytest.param(
            {"worker_from_zero_cooldown_s": "510"},
            ["worker_from_zero_cooldown_s (510)", "first workers run", "510 s"],
            id="the step from zero repeats until the first workers are counted",
        ),
        pytest.param(
            {"start_promise_s": "300"},
            ["start_promise_s (300)", "reaction to a burst (300 s)"],
            id="added workers start too late",
        ),
        pytest.param(
            {"task_cpu_s": "75"},
            ["start_promise_s (600)", "the 256 that it may work on", "worker_concurrency"],
            id="busy workers alone cause a scale-out",
        ),
        pytest.param(
            {"certificate_arn": None},
            ["certificate_arn", "'standard'"],
            id="plain HTTP outside dev",
        ),
        pytest.param(
            {"rate_limit_per_ip": "29999"},
            ["rate_limit_per_ip (29999)", "submissions_per_minute (6000)"],
            id="the firewall blocks clients within their limit",
        ),
        pytest.param(
            {"certificate_arn": ""},
            ["certificate_arn", "'standard'"],
            id="plain HTTP outside dev, by an empty certificate",
        ),
        pytest.param(
            {"nat_gateways": "0"},
            ["nat_gateways (0)", "egress", "'nat'"],
            id="no NAT gateway with nat egress",
        ),
        pytest.param(
            {"nat_gateways": "3"},
            ["nat_gateways (3)", "availability_zones (2)"],
            id="more NAT gateways than zones",
        ),
        pytest.param(
            {"worker_cpu": "3000"},
            ["worker_cpu (3000)", "2048, 4096"],
            id="CPU size that Fargate lacks",
        ),
        pytest.param(
            {"api_memory_mib": "8192"},
            ["api_memory_mib (8192)", "api_cpu (512)", "4096"],
            id="more memory than Fargate allows",
        ),
        pytest.param(
            {"worker_memory_mib": "4500"},
            ["worker_memory_mib (4500)", "worker_cpu (2048)", "4096, 5120"],
            id="memory between two sizes",
        ),
        pytest.param(
            {"api_cpu": "256", "api_memory_mib": "1536"},
            ["api_memory_mib (1536)", "api_cpu (256)", "1024, 2048"],
            id="memory between two of the smallest sizes",
        ),
        pytest.param(
            {"idle_timeout_s": "75"},
            ["idle_timeout_s (75)", "keep-alive (75)"],
            id="the API closes connections that the load balancer uses",
        ),
        pytest.param(
            {"deregistration_delay_s": "20"},
            ["deregistration_delay_s (20)", "longest request (20)"],
            id="a container that stops cuts off the longest request",
        ),
        pytest.param({"vpc_cidr": "10.0.0/16"}, ["vpc_cidr", "'10.0.0/16'"], id="invalid network"),
        pytest.param({"vpc_cidr": "10.0.0.1/16"}, ["vpc_cidr", "'10.0.0.1/16'"], id="host address"),
        pytest.param({"vpc_cidr": "10.0.0.0/15"}, ["vpc_cidr", "/16 to /23"], id="VPC too large"),
        pytest.param({"vpc_cidr": "10.0.0.0/24"}, ["vpc_cidr", "/16 to /23"], id="VPC too small"),
        pytest.param(
            {"vpc_cidr": "8.8.0.0/16"},
            ["vpc_cidr", "private", "172.16.0.0/12"],
            id="public addresses in the VPC",
        ),
        pytest.param(
            {"vpc_cidr": "10.0.0.0/23"},
            ["vpc_cidr (10.0.0.0/23)", "api_max_tasks (10)", "worker_max_tasks (20)"],
            id="subnets too small for a rolling deployment",
        ),
        pytest.param(
            {"zone_names": "eu-west-1a,eu-west-1b,eu-west-1c"},
            ["zone_names", "availability_zones (2)"],
            id="more zone names than zones",
        ),
        pytest.param(
            {"worker_subnet_ids": "subnet-00000001,subnet-00000002"},
            ["worker_subnet_ids", "vpc_id"],
            id="subnets without their VPC",
        ),
        pytest.param(
            {**EXISTING_VPC, "worker_subnet_ids": ""},
            ["worker_subnet_ids", "at least two subnets"],
            id="existing VPC without subnets for workers",
        ),
        pytest.param(
            {**EXISTING_VPC, "load_balancer_subnet_ids": "subnet-00000001"},
            ["load_balancer_subnet_ids", "at least two subnets"],
            id="load balancer in one subnet",
        ),
        pytest.param(
            {**EXISTING_VPC, "denied_networks": ""},
            ["denied_networks", "vpc-0123456789abcdef0"],
            id="workers do not know the existing VPC's addresses",
        ),
        pytest.param(
            {"client_networks": "192.0.2.0/24,198.51.100.0/33"},
            ["client_networks", "'198.51.100.0/33'"],
            id="one invalid network of two",
        ),
        pytest.param({"fetch_contact": "Jane (ops)"}, ["fetch_contact"], id="contact in brackets"),
        pytest.param(
            {"certificate_arn": "arn:aws:acm:eu-west-1:1:certificate/1"},
            ["certificate_arn", "pattern"],
            id="malformed certificate",
        ),
        pytest.param(
            {"hosted_zone_id": "Z0123456789ABC"},
            ["domain_name", "hosted_zone_id (Z0123456789ABC)"],
            id="zone without a name",
        ),
        pytest.param(
            {"alarm_topic_arn": "arn:aws:sns:eu-west-1:111122223333:t", "alarm_email": "a@b.c"},
            ["alarm_email (a@b.c)", "alarm_topic_arn"],
            id="email address for an existing topic",
        ),
        pytest.param(
            {"worker_busy_min_tasks": "21"},
            ["worker_busy_min_tasks (21)", "worker_max_tasks (20)"],
            id="more workers in busy hours than at most",
        ),
        pytest.param(
            {"worker_busy_hours": "8-18"}, ["worker_busy_hours", "'8-18'"], id="hours without days"
        ),
        pytest.param({"tags": "team"}, ["tags", "name=value"], id="tag without a value"),
        pytest.param({"role_path": "taskfleet"}, ["role_path"], id="role path without slashes"),
        pytest.param({"web_acl": "off"}, ["web_acl", "create"], id="unknown firewall"),
        pytest.param({"client_networks": ""}, ["client_networks"], id="no client network"),
    ],
)
def test_an_invalid_setting_is_refused_in_one_sentence_that_names_it(
    context: dict[str, object], named: list[str]
) -> None:
    sentence = error_of(**context)

    assert all(name in sentence for name in named), sentence
    assert sentence.endswith((".", "?"))
    assert "\n" not in sentence


@pytest.mark.parametrize(
    "setting",
    ["alarm_email", "domain_name", "fetch_contact", "github_repository", "oidc_provider_arn"],
)
def test_an_empty_value_means_none(setting: str) -> None:
    assert getattr(standard(**{setting: ""}), setting) is None


@pytest.mark.parametrize(
    ("setting", "limit"),
    [
        ("visibility_timeout_s", 40),
        ("processing_budget_s", 119),
        ("imaging_memory_mib", 1_536),
        ("queue_retention_days", 13),
        ("worker_min_tasks", 20),
        ("worker_from_zero_cooldown_s", 511),
        ("max_receive_count", 100),
        ("rate_limit_per_ip", 30_000),
        ("idle_timeout_s", 74),
        ("deregistration_delay_s", 21),
        ("worker_memory_mib", 5_120),
    ],
)
def test_a_value_at_its_limit_is_accepted(setting: str, limit: int) -> None:
    assert getattr(standard(**{setting: str(limit)}), setting) == limit


def test_the_backlog_per_worker_is_what_an_added_worker_completes_in_time() -> None:
    settings = standard(start_promise_s="600", worker_cpu="2048", task_cpu_s="0.5")

    # Two vCPUs complete four tasks of 0.5 s per second, for the remaining 300 s.
    assert settings.backlog_per_worker == 1_200


def test_every_setting_has_a_description() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("profile", list(PROFILES))
def test_the_preflight_knows_what_each_profile_needs(profile: str) -> None:
    context = {"profile": profile, "certificate_arn": CERTIFICATE}
    settings = load_settings(context, profiles=PROFILES)
    units = (
        settings.api_min_tasks * settings.api_cpu + settings.worker_cpu + settings.reconciler_cpu
    )

    assert VCPUS[profile] == units / 1_024
    assert NAT_GATEWAYS[profile] == settings.nat_gateways
