"""The facts on which the deployment and the services must agree."""

import ast
from collections.abc import Mapping
from typing import Any, cast

import pytest

from cdk.settings import API_KEEP_ALIVE_S, LONGEST_REQUEST_S
from cdk.stacks.state import RESULTS
from cdk.template.templates import Templates
from local import aws_resources
from services.common.config import ApiConfig, ReconcilerConfig, ServiceConfig, WorkerConfig
from services.common.telemetry import NAMESPACE, Metric
from services.common.version import PROJECT_PAGE
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
    """The service's configuration from its container's environment. References become words."""
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
def test_a_container_has_the_variables_that_its_service_requires_and_no_unknown_ones(
    deployment: Templates, service: str
) -> None:
    fields = CONFIGS[service].model_fields
    names = set(environment(deployment, service))

    assert names <= {name.upper() for name in fields}
    assert names >= {name.upper() for name, field in fields.items() if field.is_required()}


@services
def test_a_container_has_no_custom_aws_endpoint(deployment: Templates, service: str) -> None:
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
def test_a_variable_names_its_resource(
    deployment: Templates, service: str, name: str, resource: str
) -> None:
    value = environment(deployment, service)[name]
    stack = deployment.tasks[service].stack

    assert deployment.target(value, stack=stack) == getattr(deployment, resource)


@services
def test_a_service_knows_its_environment_and_region(deployment: Templates, service: str) -> None:
    settings = config(deployment, service)

    assert settings.taskfleet_environment == deployment.settings.environment
    assert settings.aws_region == "eu-west-1"
    assert settings.log_format == "json"


def test_workers_download_only_from_public_addresses(deployment: Templates) -> None:
    settings = config(deployment, "worker")

    assert settings.fetch_allowed_networks == ()
    assert set(settings.fetch_allowed_ports) == {80, 443}


def test_workers_name_the_contact_of_the_setting_or_the_project_page(
    deployment: Templates,
) -> None:
    contact = deployment.settings.fetch_contact or PROJECT_PAGE

    assert config(deployment, "worker").fetch_contact == contact


def test_workers_know_the_address_range_of_their_vpc(deployment: Templates) -> None:
    (network,) = config(deployment, "worker").fetch_denied_networks

    assert str(network) == deployment.one("EC2::VPC")["CidrBlock"]


def test_the_api_allows_the_origins_of_the_setting(deployment: Templates) -> None:
    assert config(deployment, "api").api_cors_origins == deployment.settings.cors_origins


def test_the_submission_limit_matches_the_setting(deployment: Templates) -> None:
    assert environment(deployment, "api")["SUBMISSIONS_PER_MINUTE"] == str(
        deployment.settings.submissions_per_minute
    )


def test_the_stack_outputs_match_the_limits_of_the_api(deployment: Templates) -> None:
    outputs = deployment.templates["state"]["Outputs"]
    variables = environment(deployment, "api")

    assert outputs["RowRetentionS"]["Value"] == variables["ROW_RETENTION_S"]


# ── Timing ────────────────────────────────────────────────────────────────────────────────────


def test_the_lease_equals_the_visibility_timeout(deployment: Templates) -> None:
    timeout = deployment.queue["VisibilityTimeout"]

    assert config(deployment, "worker").lease_s == timeout
    assert config(deployment, "reconciler").lease_s == timeout


def test_a_worker_knows_its_stop_timeout(deployment: Templates) -> None:
    settings = config(deployment, "worker")

    assert settings.stop_timeout_s == deployment.container("worker")["StopTimeout"]
    assert settings.processing_budget_s < settings.stop_timeout_s


def test_the_api_completes_requests_before_it_is_killed(deployment: Templates) -> None:
    stop_timeout_s = deployment.container("api")["StopTimeout"]

    assert config(deployment, "api").api_stop_timeout_s < stop_timeout_s


def test_the_api_keeps_idle_connections_longer_than_the_load_balancer(
    deployment: Templates,
) -> None:
    balancer = deployment.one("ElasticLoadBalancingV2::LoadBalancer")
    (idle_timeout,) = (
        attribute["Value"]
        for attribute in balancer["LoadBalancerAttributes"]
        if attribute["Key"] == "idle_timeout.timeout_seconds"
    )

    assert gunicorn_setting("keepalive") == API_KEEP_ALIVE_S > int(idle_timeout)


def test_the_longest_request_covers_receiving_it_and_sending_the_response(
    deployment: Templates,
) -> None:
    assert config(deployment, "api").api_transfer_timeout_s * 2 <= LONGEST_REQUEST_S


def test_a_message_is_kept_beyond_the_deadline_of_its_task(deployment: Templates) -> None:
    retention_s = deployment.queue["MessageRetentionPeriod"]

    assert config(deployment, "api").deadline_s < retention_s


def test_receives_do_not_run_out_while_a_task_is_open(deployment: Templates) -> None:
    """A message that is hidden over and over is received at most every two minutes on average."""
    receives = deployment.queue["RedrivePolicy"]["maxReceiveCount"]

    assert receives >= config(deployment, "api").deadline_s / 120


@services
def test_rows_and_results_are_kept_equally_long(deployment: Templates, service: str) -> None:
    (days,) = (
        rule["ExpirationInDays"]
        for rule in deployment.result_bucket["LifecycleConfiguration"]["Rules"]
        if rule.get("Prefix") == RESULTS
    )

    assert config(deployment, service).row_retention_s == days * 86_400


# ── Sizes ─────────────────────────────────────────────────────────────────────────────────────


def test_imaging_processes_fit_into_the_containers_memory(deployment: Templates) -> None:
    settings = config(deployment, "worker")
    memory_bytes = int(deployment.tasks["worker"]["Memory"]) * 1024**2
    processes = settings.consumers * settings.imaging_processes

    assert processes * settings.imaging_memory_bytes < memory_bytes


def test_a_worker_runs_a_consumer_process_for_each_vcpu(deployment: Templates) -> None:
    cpu_units = int(deployment.tasks["worker"]["Cpu"])

    assert config(deployment, "worker").consumers == max(1, cpu_units // 1_024)


def test_the_api_listens_on_the_port_of_the_load_balancer(deployment: Templates) -> None:
    port = config(deployment, "api").api_port

    assert [
        mapping["ContainerPort"] for mapping in deployment.container("api")["PortMappings"]
    ] == [port]
    assert deployment.one("ElasticLoadBalancingV2::TargetGroup")["Port"] == port


# ── The schema ────────────────────────────────────────────────────────────────────────────────


def test_the_table_matches_the_one_of_make_run(deployment: Templates) -> None:
    table = deployment.table

    assert {name: table[name] for name in aws_resources.TABLE} == aws_resources.TABLE
    assert table["TimeToLiveSpecification"] == aws_resources.TIME_TO_LIVE


def test_the_queues_match_those_of_make_run(deployment: Templates) -> None:
    queue, dead_letters = deployment.queue, deployment.dead_letter_queue

    assert {name: queue[name] for name in aws_resources.QUEUE} == aws_resources.QUEUE
    assert {name: dead_letters[name] for name in aws_resources.DEAD_LETTER_QUEUE} == (
        aws_resources.DEAD_LETTER_QUEUE
    )
    assert queue["RedrivePolicy"]["maxReceiveCount"] == aws_resources.MAX_RECEIVE_COUNT


def test_the_secret_starts_like_the_one_of_make_run(deployment: Templates) -> None:
    assert deployment.api_keys["SecretString"] == aws_resources.NO_API_KEYS


# ── Metrics ───────────────────────────────────────────────────────────────────────────────────


def test_alarms_and_dashboard_only_read_metrics_that_the_services_write(
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
    """Read a setting from the file, since executing the file would configure this process."""
    module = ast.parse((ROOT / "services/api/server/gunicorn.conf.py").read_text())
    for statement in module.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
                return cast("int", ast.literal_eval(value))
    raise AssertionError(f"gunicorn.conf.py does not set {name}")
