"""``AWS::CloudWatch::Alarm``, reduced to the name and ARN that a dashboard refers to."""

from typing import Any, Self

from moto.core.common_models import CloudFormationModel


class AlarmResource(CloudFormationModel):
    def __init__(self, name: str, arn: str) -> None:
        self.physical_resource_id = name
        self._arn = arn

    @staticmethod
    def cloudformation_name_type() -> str:
        return "AlarmName"

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::CloudWatch::Alarm"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return attr == "Arn"

    def get_cfn_attribute(self, _attribute: str) -> str:
        return self._arn

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **_: Any,
    ) -> Self:
        arn = f"arn:aws:cloudwatch:{region_name}:{account_id}:alarm:{resource_name}"
        return cls(resource_name, arn)

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
        """Nothing was created."""
