"""What a deployment may be asked for, and how a wrong wish is answered."""

import pytest
from pydantic import ValidationError

from app import PROFILES
from cdk.settings import Egress, Settings, SettingsError, load_settings
from tests.cdk.conftest import CERTIFICATE


def standard(**context: object) -> Settings:
    return load_settings(
        {"profile": "standard", "certificate_arn": CERTIFICATE, **context}, profiles=PROFILES
    )


def refusal(**context: object) -> str:
    with pytest.raises(SettingsError) as refused:
        standard(**context)
    return str(refused.value)


def test_settings_cannot_be_changed_afterwards() -> None:
    settings = standard()

    with pytest.raises(ValidationError, match="frozen"):
        settings.worker_max_tasks = 100  # type: ignore[misc]


def test_context_overrides_the_profile() -> None:
    settings = standard(worker_max_tasks="40", client_networks="192.0.2.0/24,198.51.100.0/24")

    assert settings.worker_max_tasks == 40
    assert settings.client_networks == ("192.0.2.0/24", "198.51.100.0/24")
    assert settings.egress is Egress.NAT


def test_an_environment_is_called_like_its_profile_unless_named() -> None:
    assert standard().environment == "standard"
    assert standard(environment="blue").environment == "blue"


def test_context_of_the_cdk_itself_is_left_alone() -> None:
    assert standard(**{"@aws-cdk/core:checkSecretUsage": True, "aws:cdk:enable-asset-metadata": 1})


def test_the_defaults_are_a_deployment_that_keeps_its_data() -> None:
    assert not standard().disposable


@pytest.mark.parametrize(
    ("context", "named"),
    [
        pytest.param(
            {"profile": "prod"},
            ["'prod'", "dev, standard, private"],
            id="a profile that there is not",
        ),
        pytest.param(
            {"worker_max_task": "9"},
            ["'worker_max_task'", "'worker_max_tasks'"],
            id="a setting that there is not, with the nearest",
        ),
        pytest.param({"color": "blue"}, ["'color'"], id="a setting that is like none"),
        pytest.param({"api_cpu": "many"}, ["api_cpu", "'many'"], id="a word for a number"),
        pytest.param({"environment": "Blue_1"}, ["environment", "'Blue_1'"], id="a bad name"),
        pytest.param({"worker_spot_percent": "101"}, ["worker_spot_percent", "100"], id="a range"),
        pytest.param({"api_min_tasks": "1"}, ["api_min_tasks", "2"], id="one zone only"),
        pytest.param({"github_repository": "taskfleet"}, ["github_repository"], id="no owner"),
        pytest.param(
            {"visibility_timeout_s": "39"},
            ["visibility_timeout_s (39)", "heartbeat_interval_s (20)"],
            id="a late heartbeat would lose the lease",
        ),
        pytest.param(
            {"processing_budget_s": "120"},
            ["processing_budget_s (120)", "worker_stop_timeout_s (120)"],
            id="an attempt outlasts a stopping worker",
        ),
        pytest.param(
            {"api_graceful_timeout_s": "30"},
            ["api_graceful_timeout_s (30)", "api_stop_timeout_s (30)"],
            id="a request outlasts a stopping API container",
        ),
        pytest.param(
            {"imaging_processes": "4"},
            ["worker_memory_mib (4096)", "imaging_processes", "imaging_memory_mib", "4608"],
            id="the children do not fit into the memory",
        ),
        pytest.param(
            {"queue_retention_days": "14"},
            ["dead_letter_retention_days (14)", "queue_retention_days (14)"],
            id="dead letters expire with their message",
        ),
        pytest.param(
            {"worker_min_tasks": "21"},
            ["worker_min_tasks (21)", "worker_max_tasks (20)"],
            id="fewer workers at most than at least",
        ),
        pytest.param(
            {"api_min_tasks": "11"},
            ["api_min_tasks (11)", "api_max_tasks (10)"],
            id="fewer API containers at most than at least",
        ),
        pytest.param(
            {"worker_min_tasks": "0", "worker_from_zero_tasks": "0"},
            ["worker_min_tasks (0)", "worker_from_zero_tasks (0)"],
            id="nothing would start the first worker",
        ),
        pytest.param(
            {"worker_from_zero_cooldown_s": "90"},
            ["worker_from_zero_cooldown_s (90)", "start of a container (90 s)"],
            id="the step from zero repeats before the first container runs",
        ),
        pytest.param(
            {"start_promise_s": "300"},
            ["start_promise_s (300)", "reaction to a burst (300 s)"],
            id="added workers come too late",
        ),
        pytest.param(
            {"task_cpu_s": "75"},
            ["start_promise_s (600)", "worker_concurrency (8)"],
            id="a busy fleet without a queue would grow",
        ),
        pytest.param(
            {"max_receive_count": "14"},
            ["max_receive_count (14)", "attempt_limit (5)"],
            id="the dead-letter queue takes what still has attempts",
        ),
        pytest.param(
            {"certificate_arn": None}, ["certificate_arn", "'standard'"], id="keys in plain HTTP"
        ),
        pytest.param(
            {"rate_limit_per_ip": "29999"},
            ["rate_limit_per_ip (29999)", "submissions_per_minute (6000)"],
            id="the firewall blocks who may still submit",
        ),
        pytest.param(
            {"certificate_arn": ""},
            ["certificate_arn", "'standard'"],
            id="keys in plain HTTP, by a certificate without a name",
        ),
        pytest.param(
            {"nat_gateways": "0"}, ["nat_gateways (0)", "egress", "'nat'"], id="no way out"
        ),
        pytest.param(
            {"nat_gateways": "3"},
            ["nat_gateways (3)", "availability_zones (2)"],
            id="more gateways than zones",
        ),
        pytest.param(
            {"worker_cpu": "3000"}, ["worker_cpu (3000)", "2048, 4096"], id="not a Fargate size"
        ),
        pytest.param(
            {"api_memory_mib": "8192"},
            ["api_memory_mib (8192)", "api_cpu (512)", "4096"],
            id="more memory than Fargate gives",
        ),
        pytest.param(
            {"worker_memory_mib": "4500"},
            ["worker_memory_mib (4500)", "worker_cpu (2048)", "4096, 5120"],
            id="memory between two of Fargate's sizes",
        ),
        pytest.param(
            {"api_cpu": "256", "api_memory_mib": "1536"},
            ["api_memory_mib (1536)", "api_cpu (256)", "1024, 2048"],
            id="memory between two of the smallest sizes",
        ),
        pytest.param(
            {"idle_timeout_s": "75"},
            ["idle_timeout_s (75)", "keep-alive (75)"],
            id="the API closes a connection that the balancer still uses",
        ),
        pytest.param(
            {"deregistration_delay_s": "20"},
            ["deregistration_delay_s (20)", "longest request (20)"],
            id="a leaving container cuts off the longest request",
        ),
        pytest.param({"vpc_cidr": "10.0.0/16"}, ["vpc_cidr", "'10.0.0/16'"], id="no network"),
        pytest.param({"vpc_cidr": "10.0.0.1/16"}, ["vpc_cidr", "'10.0.0.1/16'"], id="a host's"),
        pytest.param({"vpc_cidr": "10.0.0.0/8"}, ["vpc_cidr", "/16 to /28"], id="not a VPC's size"),
        pytest.param(
            {"client_networks": "192.0.2.0/24,198.51.100.0/33"},
            ["client_networks", "'198.51.100.0/33'"],
            id="one of the networks is none",
        ),
        pytest.param({"client_networks": ""}, ["client_networks"], id="nobody may connect"),
    ],
)
def test_a_wrong_wish_is_refused_in_one_sentence_that_names_it(
    context: dict[str, object], named: list[str]
) -> None:
    sentence = refusal(**context)

    assert all(name in sentence for name in named), sentence
    assert sentence.endswith((".", "?"))
    assert "\n" not in sentence


@pytest.mark.parametrize(
    "setting", ["alarm_email", "domain_name", "github_repository", "oidc_provider_arn"]
)
def test_an_empty_wish_is_none(setting: str) -> None:
    assert getattr(standard(**{setting: ""}), setting) is None


@pytest.mark.parametrize(
    ("setting", "limit"),
    [
        ("visibility_timeout_s", 40),
        ("processing_budget_s", 119),
        ("imaging_processes", 3),
        ("queue_retention_days", 13),
        ("worker_min_tasks", 20),
        ("worker_from_zero_cooldown_s", 91),
        ("max_receive_count", 15),
        ("rate_limit_per_ip", 30_000),
        ("idle_timeout_s", 74),
        ("deregistration_delay_s", 21),
        ("worker_memory_mib", 5_120),
    ],
)
def test_the_limit_itself_is_allowed(setting: str, limit: int) -> None:
    assert getattr(standard(**{setting: str(limit)}), setting) == limit


def test_a_worker_may_owe_what_it_gets_through_after_joining() -> None:
    settings = standard(start_promise_s="600", worker_cpu="2048", task_cpu_s="0.5")

    # Two vCPUs do four tasks of half a second each second, for the 300 s that are left.
    assert settings.backlog_per_worker == 1_200


def test_every_setting_says_what_it_is_for() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
