"""moto's resource types that ignore some properties or cannot be updated, with these gaps filled.

Each extended type calls moto's and then a function that writes the ignored properties to moto's
object, from which moto answers Describe calls.
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

SetProperties = Callable[[Any, Mapping[str, Any]], None]
"""Takes moto's object and the properties of the resource."""
OnReplacement = Callable[[Any, Any, str, str], None]
"""Takes the old object, the new object, the account and the region."""
Delete = Callable[[str, Mapping[str, Any], str, str], None]
"""Takes the physical name, the resource in the template, the account and the region."""


def _extend(
    model: Any,
    set_properties: SetProperties,
    *,
    on_replacement: OnReplacement | None = None,
    delete: Delete | None = None,
) -> type[CloudFormationModel]:
    """A class that replaces `model` for its resource type.

    Pass `on_replacement` if an update of the type creates a new resource, and `delete` if moto does
    not delete the resource correctly.
    """

    def create(
        name: str, resource: dict[str, Any], account_id: str, region: str, **more: Any
    ) -> Any:
        created = model.create_from_cloudformation_json(name, resource, account_id, region, **more)
        set_properties(created, resource["Properties"])
        return created

    def update(
        original_resource: Any,
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> Any:
        if on_replacement is not None:
            new = create(new_resource_name, cloudformation_json, account_id, region_name)
            on_replacement(original_resource, new, account_id, region_name)
            return new
        set_properties(original_resource, cloudformation_json["Properties"])
        return original_resource

    return type(
        f"Extended{model.__name__}",
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


def _set_task_definition(definition: Any, properties: Mapping[str, Any]) -> None:
    definition.task_role_arn = properties.get("TaskRoleArn")
    definition.execution_role_arn = properties.get("ExecutionRoleArn")
    definition.cpu = properties.get("Cpu")
    definition.memory = properties.get("Memory")
    definition.network_mode = properties.get("NetworkMode")
    definition.requires_compatibilities = properties.get("RequiresCompatibilities")


def _update_services(
    old: TaskDefinition, new: TaskDefinition, account_id: str, region: str
) -> None:
    """Point services to the new definition.

    CloudFormation updates the resources that refer to a replaced one; moto does not.
    """
    for service in ecs_backends[account_id][region].services.values():
        if service.task_definition == old.arn:
            service.task_definition = new.arn


def _set_service(service: Any, properties: Mapping[str, Any]) -> None:
    def camel_case(name: str) -> Any:
        return remap_nested_keys(properties.get(name), pascal_to_camelcase)

    service.task_definition = properties["TaskDefinition"]
    service.load_balancers = camel_case("LoadBalancers") or []
    service.deployment_configuration = camel_case("DeploymentConfiguration")
    service.health_check_grace_period_seconds = properties.get("HealthCheckGracePeriodSeconds")
    if "DesiredCount" in properties:
        service.desired_count = properties["DesiredCount"]


def _delete_service(arn: str, _json: Mapping[str, Any], account_id: str, region: str) -> None:
    """Mark the service as deleted. moto's own method needs the cluster, which may be gone."""
    for service in ecs_backends[account_id][region].services.values():
        if service.arn == arn:
            service.status = "INACTIVE"


def _set_target_group(group: Any, properties: Mapping[str, Any]) -> None:
    group.attributes |= _attributes(properties.get("TargetGroupAttributes", ()))
    # moto supports no Fn::GetAtt on target groups, and the alarms need this attribute.
    group.get_cfn_attribute = {"TargetGroupFullName": group.arn.rpartition(":")[2]}.__getitem__


def _set_load_balancer(balancer: FakeLoadBalancer, properties: Mapping[str, Any]) -> None:
    balancer.attrs |= _attributes(properties.get("LoadBalancerAttributes", ()))


def _attributes(key_value_pairs: Any) -> dict[str, str]:
    return {pair["Key"]: pair["Value"] for pair in key_value_pairs}


def _set_table(table: Table, properties: Mapping[str, Any]) -> None:
    table.deletion_protection_enabled = properties.get("DeletionProtectionEnabled", False)


def _delete_route_table(name: str, _json: Mapping[str, Any], account_id: str, region: str) -> None:
    """Delete the route table. moto's own method does not, and then cannot delete the VPC."""
    backend = ec2_backends[account_id][region]
    for association in backend.get_route_table(name).all_associations_ids:
        backend.disassociate_route_table(association)
    backend.delete_route_table(name)


def _set_nothing(_resource: Any, _properties: Mapping[str, Any]) -> None:
    """Nothing to set: updates change only the deletion policy of these types."""


EXTENDED_TYPES = (
    _extend(TaskDefinition, _set_task_definition, on_replacement=_update_services),
    _extend(Service, _set_service, delete=_delete_service),
    _extend(FakeTargetGroup, _set_target_group),
    _extend(FakeLoadBalancer, _set_load_balancer),
    _extend(Table, _set_table),
    _extend(FakeBucket, _set_nothing),
    _extend(LogGroup, _set_nothing),
    _extend(RouteTable, _set_nothing, delete=_delete_route_table),
)
"""A reference to the classes, which moto finds only as long as they exist."""
