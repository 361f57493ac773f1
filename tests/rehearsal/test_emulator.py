"""The behavior that the emulated CloudFormation adds to moto's."""

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.request import Request, urlopen

import pytest
from botocore.exceptions import ClientError

from rehearsal.aws.emulator import EmulatedAws
from rehearsal.aws_clients import AwsClients
from rehearsal.ecs.definitions import read_services, read_task_definition

pytestmark = pytest.mark.xdist_group("moto's global state")

CONTAINER = {
    "Name": "one",
    "Image": "registry/repository:tag",
    "Environment": [{"Name": "TASK_TABLE", "Value": {"Ref": "Queue"}}],
    "User": "10001",
    "ReadonlyRootFilesystem": True,
    "StopTimeout": 120,
    "HealthCheck": {"Command": ["CMD", "check"], "Interval": 7},
    "LinuxParameters": {"InitProcessEnabled": True, "Capabilities": {"Drop": ["ALL"]}},
    "MountPoints": [{"ContainerPath": "/tmp", "SourceVolume": "tmp"}],  # noqa: S108
    "LogConfiguration": {"LogDriver": "awslogs", "Options": {"awslogs-group": "logs"}},
}


def template(*, user: str = "10001", text: str = "{}", **more: Any) -> str:
    resources: Mapping[str, Any] = {
        "Queue": {"Type": "AWS::SQS::Queue"},
        "Cluster": {"Type": "AWS::ECS::Cluster"},
        "Task": {
            "Type": "AWS::ECS::TaskDefinition",
            "Properties": {
                "Family": "one",
                "Cpu": "256",
                "Memory": "512",
                "TaskRoleArn": "arn:aws:iam::123456789012:role/task",
                "ExecutionRoleArn": "arn:aws:iam::123456789012:role/execution",
                "ContainerDefinitions": [{**CONTAINER, "User": user}],
            },
        },
        "Service": {
            "Type": "AWS::ECS::Service",
            "Properties": {
                "Cluster": {"Ref": "Cluster"},
                "TaskDefinition": {"Ref": "Task"},
                "DesiredCount": 2,
                "DeploymentConfiguration": {"MinimumHealthyPercent": 50, "MaximumPercent": 150},
                "LoadBalancers": [{"TargetGroupArn": "group", "ContainerPort": 8080}],
            },
        },
        "Secret": {
            "Type": "AWS::SecretsManager::Secret",
            "Properties": {"SecretString": text},
        },
        **more,
    }
    outputs = {"Secret": {"Value": {"Ref": "Secret"}, "Export": {"Name": "secret"}}}
    return json.dumps({"Resources": resources, "Outputs": outputs})


@pytest.fixture
def clients() -> Iterator[AwsClients]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with EmulatedAws() as aws:
        reset = Request(f"{aws.endpoint_url}/moto-api/reset", method="POST")
        urlopen(reset).close()
        yield AwsClients(endpoint_url=aws.endpoint_url)
        urlopen(reset).close()


@pytest.fixture
def deployed(clients: AwsClients) -> AwsClients:
    clients.cloudformation.create_stack(StackName="stack", TemplateBody=template())
    return clients


def test_a_task_definition_is_described_with_all_deployed_properties(deployed: AwsClients) -> None:
    (service,) = read_services(deployed.ecs)
    definition = read_task_definition(deployed.ecs, service.task_definition_arn)

    assert definition.image_tag == "tag"
    assert definition.environment["TASK_TABLE"].startswith("https://")
    assert (definition.user, definition.read_only_root, definition.init_process) == (
        "10001",
        True,
        True,
    )
    assert definition.dropped_capabilities == ["ALL"]
    assert definition.writable_paths == ["/tmp"]  # noqa: S108
    assert (definition.stop_timeout_s, definition.cpu_units, definition.memory_mib) == (
        120,
        256,
        512,
    )
    assert (definition.task_role, definition.execution_role) == ("task", "execution")
    assert definition.health_check is not None
    assert definition.health_check.command == ["check"]
    assert (definition.health_check.interval_s, definition.health_check.retries) == (7, 3)


def test_a_service_is_described_with_all_deployed_properties(deployed: AwsClients) -> None:
    (service,) = read_services(deployed.ecs)

    assert (service.desired_count, service.target_group_arn, service.target_port) == (
        2,
        "group",
        8080,
    )
    assert (service.min_healthy_percent, service.max_percent) == (50, 150)


def test_a_service_uses_the_new_task_definition_after_an_update(deployed: AwsClients) -> None:
    (before,) = read_services(deployed.ecs)

    deployed.cloudformation.update_stack(StackName="stack", TemplateBody=template(user="10002"))

    (after,) = read_services(deployed.ecs)
    assert after.task_definition_arn != before.task_definition_arn
    assert read_task_definition(deployed.ecs, after.task_definition_arn).user == "10002"


def test_an_update_does_not_overwrite_the_value_of_a_secret(deployed: AwsClients) -> None:
    outputs = deployed.cloudformation.describe_stacks(StackName="stack")["Stacks"][0]["Outputs"]
    secret = outputs[0]["OutputValue"]
    assert deployed.secretsmanager.get_secret_value(SecretId=secret)["SecretString"] == "{}"
    deployed.secretsmanager.put_secret_value(SecretId=secret, SecretString='{"key": 1}')

    deployed.cloudformation.update_stack(
        StackName="stack", TemplateBody=template(text='{"other": 2}')
    )

    value = deployed.secretsmanager.get_secret_value(SecretId=secret)["SecretString"]
    assert value == '{"key": 1}'


def test_describing_a_deleted_stack_does_not_create_its_resources_again(
    deployed: AwsClients,
) -> None:
    stack_id = deployed.cloudformation.describe_stacks(StackName="stack")["Stacks"][0]["StackId"]

    deployed.cloudformation.delete_stack(StackName="stack")
    deployed.cloudformation.describe_stacks(StackName=stack_id)

    assert not read_services(deployed.ecs)
    assert not deployed.sqs.list_queues().get("QueueUrls")
    assert not deployed.secretsmanager.list_secrets()["SecretList"]


def test_a_stack_with_termination_protection_cannot_be_deleted(deployed: AwsClients) -> None:
    cloudformation = deployed.cloudformation
    cloudformation.update_termination_protection(
        StackName="stack", EnableTerminationProtection=True
    )
    with pytest.raises(ClientError, match="TerminationProtection is enabled"):
        cloudformation.delete_stack(StackName="stack")
    assert read_services(deployed.ecs)

    cloudformation.update_termination_protection(
        StackName="stack", EnableTerminationProtection=False
    )
    cloudformation.delete_stack(StackName="stack")
    assert not read_services(deployed.ecs)


def test_a_scalable_target_needs_an_existing_service(deployed: AwsClients) -> None:
    scalable_target = {
        "Type": "AWS::ApplicationAutoScaling::ScalableTarget",
        "Properties": {
            "ServiceNamespace": "ecs",
            "ResourceId": "service/cluster/no-such-service",
            "ScalableDimension": "ecs:service:DesiredCount",
            "MinCapacity": 1,
            "MaxCapacity": 3,
        },
    }

    with pytest.raises(ClientError):
        deployed.cloudformation.create_stack(
            StackName="other",
            TemplateBody=json.dumps({"Resources": {"ScalableTarget": scalable_target}}),
        )
