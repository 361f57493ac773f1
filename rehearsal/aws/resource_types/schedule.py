"""``AWS::Scheduler::Schedule`` and ``AWS::Scheduler::ScheduleGroup``."""

from typing import Any, Self

from moto.core.common_models import CloudFormationModel
from moto.scheduler.models import scheduler_backends


class ScheduleGroupResource(CloudFormationModel):
    def __init__(self, name: str, arn: str) -> None:
        self.physical_resource_id = name
        self._arn = arn

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return attr == "Arn"

    def get_cfn_attribute(self, _attribute: str) -> str:
        return self._arn

    @staticmethod
    def cloudformation_name_type() -> str:
        return "Name"

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::Scheduler::ScheduleGroup"

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **_: Any,
    ) -> Self:
        backend = scheduler_backends[account_id][region_name]
        group = backend.create_schedule_group(resource_name, [])
        return cls(group.name, group.arn)

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: Self,
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> Self:
        return original_resource

    def delete(self, account_id: str, region_name: str) -> None:
        scheduler_backends[account_id][region_name].delete_schedule_group(self.physical_resource_id)


class ScheduleResource(CloudFormationModel):
    def __init__(self, name: str, group: str) -> None:
        self.physical_resource_id = name
        self._group = group

    @staticmethod
    def cloudformation_name_type() -> str:
        return "Name"

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::Scheduler::Schedule"

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **_: Any,
    ) -> Self:
        properties = cloudformation_json["Properties"]
        schedule = scheduler_backends[account_id][region_name].create_schedule(
            name=resource_name,
            group_name=properties.get("GroupName", "default"),
            description=properties.get("Description"),
            schedule_expression=properties["ScheduleExpression"],
            schedule_expression_timezone=properties.get("ScheduleExpressionTimezone"),
            flexible_time_window=properties["FlexibleTimeWindow"],
            start_date=properties.get("StartDate"),
            end_date=properties.get("EndDate"),
            state=properties.get("State"),
            target=properties["Target"],
            kms_key_arn="",
            action_after_completion=None,
        )
        return cls(schedule.name, schedule.group_name)

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: Self,
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> Self:
        original_resource.delete(account_id, region_name)
        return cls.create_from_cloudformation_json(
            original_resource.physical_resource_id, cloudformation_json, account_id, region_name
        )

    def delete(self, account_id: str, region_name: str) -> None:
        """A group deletes its schedules ("DeleteScheduleGroup", EventBridge Scheduler API
        Reference), and moto may delete the group of a stack first."""
        backend = scheduler_backends[account_id][region_name]
        if self._group in backend.schedule_groups:
            backend.delete_schedule(self._group, self.physical_resource_id)
