"""What the deployment and the services must agree on, read from both sides."""

import ast
from collections.abc import Mapping
from typing import Any, cast

import pytest

from cdk.settings import API_KEEP_ALIVE_S
from cdk.stacks.state import RESULTS
from cdk.template.templates import Templates
from local import aws_resources
from services.common.config import ApiConfig, ReconcilerConfig, ServiceConfig, WorkerConfig
from services.common.telemetry import NAMESPACE, Metric
from tests.cdk.metrics import metrics_in
from tests.cdk.synthesized import ROOT

CONFIGS: Mapping[str, type[ServiceConfig]] = {
    "api": ApiConfig,
    "worker": WorkerConfig,
    "reconciler": ReconcilerConfig,
}

services = pytest.mark.parametrize("service", CONFIGS)


def environment(deployment: Templates, service: str) -> dict[str, Any]:
    return {
        variable["Name"]: variable["Value"]
        for variable in deployment.container(service)["Environment"]
    }


def config(deployment: Templates, service: str) -> Any:
    """The service's own reading of its container's environment; references become words."""
    return CONFIGS[service].model_validate(
        {
            name.lower(): value if isinstance(value, str) else "a-resource"
            for name, value in environment(deployment, service).items()
        },
        strict=False,
        extra="forbid",
    )


# ── The environment ───────────────────────────────────────────────────────────────────────────


@services
def test_a_container_is_told_what_its_service_needs_and_only_what_it_reads(
    deployment: Templates, service: str
) -> None:
    fields = CONFIGS[service].model_fields
    names = set(environment(deployment, service))

    assert names <= {name.upper() for name in fields}
    assert names >= {name.upper() for name, field in fields.items() if field.is_required()}


@services
def test_a_container_talks_to_the_real_aws(deployment: Templates, service: str) -> None:
    assert not any(name.startswith("AWS_ENDPOINT") for name in environment(deployment, service))


@pytest.mark.parametrize(
    ("service", "name", "resource"),
    [
        *((service, "TASK_TABLE", "table") for service in CONFIGS),
        *((service, "TASK_QUEUE_URL", "queue") for service in CONFIGS),
        ("reconciler", "DEAD_LETTER_QUEUE_URL", "dead_letter_queue"),
        ("api", "RESULT_BUCKET", "result_bucket"),
        ("worker", "RESULT_BUCKET", "result_bucket"),
        ("api", "API_KEYS_SECRET_ID", "api_keys"),
    ],
)
def test_a_name_leads_to_its_resource(
    deployment: Templates, service: str, name: str, resource: str
) -> None:
    value = environment(deployment, service)[name]
    stack = deployment.tasks[service].stack

    assert deployment.target(value, stack=stack) == getattr(deployment, resource)


@services
def test_metrics_and_region_are_those_of_the_deployment(
    deployment: Templates, service: str
) -> None:
    told = config(deployment, service)

    assert told.taskfleet_environment == deployment.settings.environment
    assert told.aws_region == "eu-west-1"
    assert told.log_format == "json"


def test_no_address_that_is_not_public_may_be_fetched_from(deployment: Templates) -> None:
    told = config(deployment, "worker")

    assert told.fetch_allowed_networks == ()
    assert set(told.fetch_allowed_ports) == {80, 443}


def test_the_limit_on_submissions_is_that_of_the_settings(deployment: Templates) -> None:
    assert environment(deployment, "api")["SUBMISSIONS_PER_MINUTE"] == str(
        deployment.settings.submissions_per_minute
    )


def test_an_operator_reads_what_the_api_gives_a_task(deployment: Templates) -> None:
    outputs = deployment.templates["state"]["Outputs"]
    told = environment(deployment, "api")

    assert outputs["AttemptLimit"]["Value"] == told["ATTEMPT_LIMIT"]
    assert outputs["RowRetentionS"]["Value"] == told["ROW_RETENTION_S"]


# ── Timing ────────────────────────────────────────────────────────────────────────────────────


def test_the_lease_is_the_visibility_timeout(deployment: Templates) -> None:
    timeout = deployment.queue["VisibilityTimeout"]

    assert config(deployment, "worker").lease_s == timeout
    assert config(deployment, "reconciler").lease_s == timeout


def test_a_worker_knows_when_it_will_be_killed(deployment: Templates) -> None:
    told = config(deployment, "worker")

    assert told.stop_timeout_s == deployment.container("worker")["StopTimeout"]
    assert told.processing_budget_s < told.stop_timeout_s


def test_the_api_finishes_before_it_is_killed(deployment: Templates) -> None:
    stop_timeout_s = deployment.container("api")["StopTimeout"]

    assert config(deployment, "api").api_stop_timeout_s < stop_timeout_s


def test_the_api_keeps_connections_longer_than_the_balancer(deployment: Templates) -> None:
    balancer = deployment.one("ElasticLoadBalancingV2::LoadBalancer")
    (idle_timeout,) = (
        attribute["Value"]
        for attribute in balancer["LoadBalancerAttributes"]
        if attribute["Key"] == "idle_timeout.timeout_seconds"
    )

    assert gunicorn_setting("keepalive") == API_KEEP_ALIVE_S > int(idle_timeout)


def test_a_message_outlives_its_task(deployment: Templates) -> None:
    retention_s = deployment.queue["MessageRetentionPeriod"]

    assert config(deployment, "api").deadline_s < retention_s


def test_the_queue_gives_up_long_after_the_row_does(deployment: Templates) -> None:
    receives = deployment.queue["RedrivePolicy"]["maxReceiveCount"]

    assert receives >= 3 * config(deployment, "api").attempt_limit


@services
def test_rows_are_kept_as_long_as_their_results(deployment: Templates, service: str) -> None:
    (days,) = (
        rule["ExpirationInDays"]
        for rule in deployment.result_bucket["LifecycleConfiguration"]["Rules"]
        if rule.get("Prefix") == RESULTS
    )

    assert config(deployment, service).row_retention_s == days * 86_400


# ── Sizes ─────────────────────────────────────────────────────────────────────────────────────


def test_the_children_that_open_images_fit_into_the_container(deployment: Templates) -> None:
    told = config(deployment, "worker")
    memory_bytes = int(deployment.tasks["worker"]["Memory"]) * 1024**2

    assert told.imaging_processes * told.imaging_memory_bytes < memory_bytes


def test_the_api_listens_where_the_balancer_sends(deployment: Templates) -> None:
    port = config(deployment, "api").api_port

    assert [
        mapping["ContainerPort"] for mapping in deployment.container("api")["PortMappings"]
    ] == [port]
    assert deployment.one("ElasticLoadBalancingV2::TargetGroup")["Port"] == port


# ── The schema ────────────────────────────────────────────────────────────────────────────────


def test_the_table_is_the_one_that_a_laptop_creates(deployment: Templates) -> None:
    table = deployment.table

    assert {name: table[name] for name in aws_resources.TABLE} == aws_resources.TABLE
    assert table["TimeToLiveSpecification"] == aws_resources.TIME_TO_LIVE


def test_the_queues_are_the_ones_that_a_laptop_creates(deployment: Templates) -> None:
    queue, dead_letters = deployment.queue, deployment.dead_letter_queue

    assert {name: queue[name] for name in aws_resources.QUEUE} == aws_resources.QUEUE
    assert {name: dead_letters[name] for name in aws_resources.DEAD_LETTER_QUEUE} == (
        aws_resources.DEAD_LETTER_QUEUE
    )
    assert queue["RedrivePolicy"]["maxReceiveCount"] == aws_resources.MAX_RECEIVE_COUNT


def test_the_secret_starts_like_a_laptops(deployment: Templates) -> None:
    assert deployment.api_keys["SecretString"] == aws_resources.NO_API_KEYS


# ── Metrics ───────────────────────────────────────────────────────────────────────────────────


def test_alarms_and_dashboard_read_metrics_that_the_services_write(
    deployment: Templates,
) -> None:
    written = {
        (metric.label, frozenset({"Service", "Environment", *extra}))
        for metric in Metric
        for extra in metric.dimension_sets
    }

    read = {
        (metric.name, frozenset(metric.dimensions))
        for metric in metrics_in(deployment)
        if metric.namespace == NAMESPACE
    }

    assert read
    assert read <= written


def gunicorn_setting(name: str) -> int:
    """Read from the file: executing it would configure this process."""
    module = ast.parse((ROOT / "services/api/server/gunicorn.conf.py").read_text())
    for statement in module.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
                return cast("int", ast.literal_eval(value))
    raise AssertionError(f"gunicorn.conf.py sets no {name}")
