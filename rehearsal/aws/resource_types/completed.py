"""Types of moto's own that drop some of their properties, or cannot be updated.

Each is moto's, plus a function that writes what was dropped onto moto's object, where the API that
describes it finds it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from moto.core.common_models import CloudFormationModel
from moto.core.utils import pascal_to_camelcase, remap_nested_keys
from moto.dynamodb.models.table import Table
from moto.ec2.models import ec2_backends
from moto.ec2.models.route_tables import RouteTable
from moto.ecs.models import Service, TaskDefinition, ecs_backends
from moto.elbv2.models import FakeLoadBalancer, FakeTargetGroup
from moto.logs.models import LogGroup
from moto.s3.models import FakeBucket

Complete = Callable[[Any, Mapping[str, Any]], None]
"""Takes moto's object and its properties."""
Replaced = Callable[[Any, Any, str, str], None]
"""Takes the old object, the new one, account and region."""
Delete = Callable[[str, Mapping[str, Any], str, str], None]
"""Takes the physical name, the resource's part of the template, account and region."""


def _completed(
    model: Any,
    complete: Complete,
    *,
    replaced: Replaced | None = None,
    delete: Delete | None = None,
) -> type[CloudFormationModel]:
    """A class for `model`'s type, which counts in its place.

    `replaced` is for a type of which an update makes a new one, `delete` for one that moto does not
    delete by itself.
    """

    def create(
        name: str, resource: dict[str, Any], account_id: str, region: str, **more: Any
    ) -> Any:
        created = model.create_from_cloudformation_json(name, resource, account_id, region, **more)
        complete(created, resource["Properties"])
        return created

    def update(
        original_resource: Any,
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> Any:
        if replaced is not None:
            new = create(new_resource_name, cloudformation_json, account_id, region_name)
            replaced(original_resource, new, account_id, region_name)
            return new
        complete(original_resource, cloudformation_json["Properties"])
        return original_resource

    return type(
        f"Completed{model.__name__}",
        (CloudFormationModel,),
        {
            "__module__": __name__,
            "cloudformation_name_type": staticmethod(model.cloudformation_name_type),
            "cloudformation_type": staticmethod(model.cloudformation_type),
            "has_cfn_attr": model.has_cfn_attr,
            "create_from_cloudformation_json": staticmethod(create),
            "update_from_cloudformation_json": staticmethod(update),
            "delete_from_cloudformation_json": (
                model.delete_from_cloudformation_json if delete is None else staticmethod(delete)
            ),
        },
    )


def _task_definition(definition: Any, properties: Mapping[str, Any]) -> None:
    definition.task_role_arn = properties.get("TaskRoleArn")
    definition.execution_role_arn = properties.get("ExecutionRoleArn")
    definition.cpu = properties.get("Cpu")
    definition.memory = properties.get("Memory")
    definition.network_mode = properties.get("NetworkMode")
    definition.requires_compatibilities = properties.get("RequiresCompatibilities")


def _use_instead(old: TaskDefinition, new: TaskDefinition, account_id: str, region: str) -> None:
    """CloudFormation hands a new name on to whoever refers to it; moto changes only what differs in
    the template itself."""
    for service in ecs_backends[account_id][region].services.values():
        if service.task_definition == old.arn:
            service.task_definition = new.arn


def _service(service: Any, properties: Mapping[str, Any]) -> None:
    def camel_case(name: str) -> Any:
        return remap_nested_keys(properties.get(name), pascal_to_camelcase)

    service.task_definition = properties["TaskDefinition"]
    service.load_balancers = camel_case("LoadBalancers") or []
    service.deployment_configuration = camel_case("DeploymentConfiguration")
    service.health_check_grace_period_seconds = properties.get("HealthCheckGracePeriodSeconds")
    if "DesiredCount" in properties:
        service.desired_count = properties["DesiredCount"]


def _delete_service(arn: str, _json: Mapping[str, Any], account_id: str, region: str) -> None:
    """By its state alone: moto may have deleted its cluster before."""
    for service in ecs_backends[account_id][region].services.values():
        if service.arn == arn:
            service.status = "INACTIVE"


def _target_group(group: Any, properties: Mapping[str, Any]) -> None:
    group.attributes |= _attributes(properties.get("TargetGroupAttributes", ()))
    # moto gives out none of its attributes; alarms name it by this one.
    group.get_cfn_attribute = {"TargetGroupFullName": group.arn.rpartition(":")[2]}.__getitem__


def _load_balancer(balancer: FakeLoadBalancer, properties: Mapping[str, Any]) -> None:
    balancer.attrs |= _attributes(properties.get("LoadBalancerAttributes", ()))


def _attributes(given: Any) -> dict[str, str]:
    return {attribute["Key"]: attribute["Value"] for attribute in given}


def _table(table: Table, properties: Mapping[str, Any]) -> None:
    table.deletion_protection_enabled = properties.get("DeletionProtectionEnabled", False)


def _delete_route_table(name: str, _json: Mapping[str, Any], account_id: str, region: str) -> None:
    """moto leaves it behind, and then cannot delete the VPC."""
    backend = ec2_backends[account_id][region]
    for association in backend.get_route_table(name).all_associations_ids:
        backend.disassociate_route_table(association)
    backend.delete_route_table(name)


def _nothing(_resource: Any, _properties: Mapping[str, Any]) -> None:
    """Only what becomes of it at its deletion is ever changed."""


COMPLETED = (
    _completed(TaskDefinition, _task_definition, replaced=_use_instead),
    _completed(Service, _service, delete=_delete_service),
    _completed(FakeTargetGroup, _target_group),
    _completed(FakeLoadBalancer, _load_balancer),
    _completed(Table, _table),
    _completed(FakeBucket, _nothing),
    _completed(LogGroup, _nothing),
    _completed(RouteTable, _nothing, delete=_delete_route_table),
)
"""Kept, or moto would not find them."""
