"""Deployments that differ in their settings, and what a change from one to another would do."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER  # type: ignore[import-untyped]

from cdk.template.templates import Resource, Templates

CERTIFICATE = "arn:aws:acm:eu-west-1:111122223333:certificate/11111111-2222-3333-4444-555555555555"

EVERYTHING: Mapping[str, Any] = {
    "disposable": "true",
    "tags": "team=images",
    "permissions_boundary_arn": "arn:aws:iam::111122223333:policy/boundary",
    "role_path": "/taskfleet/",
    "ecs_exec": "true",
    "backup_retention_days": "35",
    "web_acl": "none",
    "hosted_zone_id": "Z0123456789ABC",
    "worker_busy_min_tasks": "3",
    "worker_busy_hours": "MON-SAT/7-20",
    "worker_busy_time_zone": "Europe/Berlin",
    "base_image": "registry.example.org/python:3.13-slim-trixie",
    "cpu_architecture": "ARM64",
    "log_retention_days": "90",
    "alarm_email": "operator@example.org",
    "denied_networks": "198.51.100.0/24",
    "fetch_contact": "operator@example.org",
    "domain_name": "tasks.example.org",
    "client_networks": "192.0.2.0/24",
    "rate_limit_per_ip": "50000",
    "idle_timeout_s": "50",
    "deregistration_delay_s": "40",
    "api_cpu": "1024",
    "api_memory_mib": "2048",
    "api_min_tasks": "3",
    "api_max_tasks": "12",
    "api_requests_per_minute": "900",
    "api_processes": "3",
    "cors_origins": "https://shop.example",
    "submissions_per_minute": "5000",
    "api_graceful_timeout_s": "26",
    "api_stop_timeout_s": "31",
    "api_p99_latency_alarm_s": "3",
    "api_error_rate_alarm_percent": "2",
    "worker_cpu": "1024",
    "worker_memory_mib": "2048",
    "worker_min_tasks": "0",
    "worker_max_tasks": "30",
    "worker_on_demand_base": "2",
    "worker_spot_percent": "50",
    "worker_concurrency": "4",
    "imaging_memory_mib": "900",
    "start_promise_s": "700",
    "task_cpu_s": "0.5",
    "worker_from_zero_tasks": "3",
    "worker_from_zero_cooldown_s": "600",
    "worker_scale_out_cooldown_s": "70",
    "worker_scale_in_cooldown_s": "700",
    "visibility_timeout_s": "70",
    "heartbeat_interval_s": "25",
    "processing_budget_s": "80",
    "worker_stop_timeout_s": "110",
    "max_receive_count": "500",
    "keep_previous_index": "true",
    "queue_retention_days": "5",
    "dead_letter_retention_days": "13",
    "result_retention_days": "20",
    "upload_retention_days": "2",
    "reconcile_interval_min": "10",
    "reconciler_cpu": "512",
    "reconciler_memory_mib": "1024",
    "github_repository": "example/taskfleet",
    "oidc_provider_arn": "arn:aws:iam::111122223333:oidc-provider/example.org",
    "bootstrap_qualifier": "another",
}
"""Another value for each setting that can change and needs no deployment of its own below."""

EXISTING_VPC: Mapping[str, Any] = {
    "vpc_id": "vpc-0123456789abcdef0",
    "load_balancer_subnet_ids": "subnet-00000001,subnet-00000002",
    "worker_subnet_ids": "subnet-00000003,subnet-00000004",
    "denied_networks": "203.0.113.0/24",
}

DEPLOYMENTS: Mapping[str, Mapping[str, Any]] = {
    "dev": {"profile": "dev"},
    "dev with a certificate": {"profile": "dev", "certificate_arn": CERTIFICATE},
    "standard": {"profile": "standard", "certificate_arn": CERTIFICATE},
    "standard with one NAT gateway": {
        "profile": "standard",
        "certificate_arn": CERTIFICATE,
        "nat_gateways": "1",
    },
    "standard in three zones": {
        "profile": "standard",
        "certificate_arn": CERTIFICATE,
        "availability_zones": "3",
    },
    "private": {"profile": "private", "certificate_arn": CERTIFICATE},
    "standard, before its first success": {
        "profile": "standard",
        "certificate_arn": CERTIFICATE,
        "deletion_protection": "false",
    },
    "standard in an existing VPC": {
        "profile": "standard",
        "certificate_arn": CERTIFICATE,
        **EXISTING_VPC,
    },
    "standard in other subnets of that VPC": {
        "profile": "standard",
        "certificate_arn": CERTIFICATE,
        **EXISTING_VPC,
        "load_balancer_subnet_ids": "subnet-00000007,subnet-00000008",
        "worker_subnet_ids": "subnet-00000009,subnet-0000000a",
        "internal_subnet_ids": "subnet-00000005,subnet-00000006",
    },
    "standard with an existing topic": {
        "profile": "standard",
        "certificate_arn": CERTIFICATE,
        "alarm_topic_arn": "arn:aws:sns:eu-west-1:111122223333:operations",
    },
    "standard with everything changed": {
        "profile": "standard",
        "certificate_arn": CERTIFICATE[:-1] + "6",
        **EVERYTHING,
    },
}
"""Settings by name. Any of them may be deployed over any other, unless the change is refused."""


def imports(deployment: Templates) -> set[str]:
    """The exports that the deployed stacks use."""
    return {
        name
        for template in deployment.templates.values()
        for name in _import_names(template["Resources"])
    }


def _import_names(value: Any) -> Iterator[str]:
    match value:
        case {"Fn::ImportValue": str(name)}:
            yield name
        case dict():
            for part in value.values():
                yield from _import_names(part)
        case list():
            for part in value:
                yield from _import_names(part)


def exports(deployment: Templates) -> dict[str, Any]:
    return {
        output["Export"]["Name"]: output["Value"]
        for template in deployment.templates.values()
        for output in template.get("Outputs", {}).values()
        if "Export" in output
    }


def replaced(old: Templates, new: Templates) -> set[tuple[str, str]]:
    """Stack and logical id of the resources that CloudFormation would replace.

    Source: the properties that each type's schema in the CloudFormation registry calls
    ``createOnlyProperties``.
    """
    before = {(r.stack, r.logical_id): r for r in old.resources}
    found: set[tuple[str, str]] = set()
    while True:
        more = {
            key
            for r in new.resources
            if (key := (r.stack, r.logical_id)) in before
            and key not in found
            and _needs_replacement(before[key], r, found)
        }
        if not more:
            return found
        found |= more


def _needs_replacement(old: Resource, new: Resource, replaced: set[tuple[str, str]]) -> bool:
    for name in _create_only(new.type):
        before, after = old.get(name), new.get(name)
        if before != after:
            return True
        if any((new.stack, ref) in replaced for ref in _references(after)):
            return True
    return False


@cache
def _create_only(resource_type: str) -> frozenset[str]:
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", resource_type).schema
    return frozenset(
        pointer.split("/")[2]
        for pointer in schema.get("createOnlyProperties", ())
        if pointer.startswith("/properties/")
    )


def _references(value: Any) -> Iterator[str]:
    match value:
        case {"Ref": str(name)} | {"Fn::GetAtt": [str(name), _]}:
            yield name
        case dict():
            for part in value.values():
                yield from _references(part)
        case list():
            for part in value:
                yield from _references(part)
