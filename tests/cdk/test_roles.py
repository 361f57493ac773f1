"""Each service has its own role, which allows exactly the calls that the service makes."""

import pytest

from cdk.template.grants import describe, grants
from cdk.template.templates import Resource, Templates

ALLOWED = {
    "api": {
        ("dynamodb:GetItem", "table"),
        ("dynamodb:PutItem", "table"),
        ("dynamodb:UpdateItem", "table"),
        ("sqs:SendMessage", "queue"),
        ("sqs:GetQueueAttributes", "queue"),
        ("s3:GetObject", "result bucket/results/*"),
        ("secretsmanager:GetSecretValue", "API keys"),
    },
    "worker": {
        ("dynamodb:UpdateItem", "table"),
        ("sqs:ReceiveMessage", "queue"),
        ("sqs:DeleteMessage", "queue"),
        ("sqs:ChangeMessageVisibility", "queue"),
        ("sqs:SendMessage", "dead-letter queue"),
        ("s3:DeleteObject", "result bucket/results/*"),
        ("s3:PutObject", "result bucket/results/*"),
    },
    "reconciler": {
        ("dynamodb:BatchGetItem", "table"),
        ("dynamodb:UpdateItem", "table"),
        ("dynamodb:Query", "table/index/OpenTaskNeeds"),
        ("sqs:SendMessage", "queue"),
        ("sqs:GetQueueAttributes", "queue"),
        ("sqs:GetQueueAttributes", "dead-letter queue"),
    },
}

EXECUTION = {
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:GetAuthorizationToken",
    "ecr:GetDownloadUrlForLayer",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
}
"""What ECS needs to start a container: its image, and a stream for its logs."""


def trusts(role: Resource) -> set[str]:
    """The AWS services that may assume the role."""
    return {
        statement["Principal"]["Service"]
        for statement in role["AssumeRolePolicyDocument"]["Statement"]
        if "Service" in statement["Principal"]
    }


def role_of(deployment: Templates, task: Resource, kind: str) -> Resource:
    return deployment.target(task[kind], stack=task.stack)


@pytest.mark.parametrize("service", ALLOWED)
def test_a_service_has_exactly_the_permissions_that_it_needs(
    deployment: Templates, service: str
) -> None:
    role = role_of(deployment, deployment.tasks[service], "TaskRoleArn")

    assert {describe(deployment, grant) for grant in grants(deployment, role)} == ALLOWED[service]


def test_services_share_no_role(deployment: Templates) -> None:
    tasks = deployment.tasks.values()
    roles = [
        role_of(deployment, task, kind)
        for task in tasks
        for kind in ("TaskRoleArn", "ExecutionRoleArn")
    ]

    assert len({(role.stack, role.logical_id) for role in roles}) == 6
    assert {frozenset(trusts(role)) for role in roles} == {frozenset({"ecs-tasks.amazonaws.com"})}


def test_an_execution_role_only_allows_pulling_the_image_and_logging(deployment: Templates) -> None:
    for task in deployment.tasks.values():
        allowed = list(grants(deployment, role_of(deployment, task, "ExecutionRoleArn")))

        assert {grant.action for grant in allowed} == EXECUTION
        assert {grant.action for grant in allowed if grant.resource == "*"} == {
            "ecr:GetAuthorizationToken"
        }


def test_only_the_registry_token_and_results_need_a_wildcard(
    deployment: Templates,
) -> None:
    wildcards = {
        describe(deployment, grant)
        for role in deployment.all("IAM::Role")
        for grant in grants(deployment, role)
        if "*" in grant.action or "*" in str(grant.resource)
    }

    assert wildcards == {
        ("ecr:GetAuthorizationToken", "*"),
        ("s3:DeleteObject", "result bucket/results/*"),
        ("s3:GetObject", "result bucket/results/*"),
        ("s3:PutObject", "result bucket/results/*"),
    }


def test_no_role_has_a_managed_or_inline_policy(deployment: Templates) -> None:
    for role in deployment.all("IAM::Role"):
        assert role.get("ManagedPolicyArns") is None
        assert role.get("Policies") is None


def test_the_scheduler_may_only_run_the_reconciler(deployment: Templates) -> None:
    target = deployment.one("Scheduler::Schedule")["Target"]
    reconciler = deployment.tasks["reconciler"]
    role = deployment.target(target["RoleArn"], stack="worker")
    dead_letters = deployment.target(target["DeadLetterConfig"]["Arn"], stack="worker")

    allowed = {
        (grant.action, deployment.target(grant.resource, stack="worker").logical_id)
        for grant in grants(deployment, role)
    }

    assert trusts(role) == {"scheduler.amazonaws.com"}
    assert allowed == {
        ("ecs:RunTask", reconciler.logical_id),
        ("sqs:SendMessage", dead_letters.logical_id),
        *(
            ("iam:PassRole", role_of(deployment, reconciler, kind).logical_id)
            for kind in ("TaskRoleArn", "ExecutionRoleArn")
        ),
    }
