"""The permission that a request needs, and the signature that it carries."""

import json

import pytest

from rehearsal.aws.required_permissions import AwsRequest, RequiredPermission, Signature

ACCOUNT = "123456789012"


def signed(service: str) -> dict[str, str]:
    scope = f"ASIAKEY/20261124/eu-west-1/{service}/aws4_request"
    return {
        "authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0a"
    }


def permission_for(request: AwsRequest) -> RequiredPermission:
    signature = request.signature()
    assert signature is not None
    return request.required_permission(signature, account=ACCOUNT)


def json_call(service: str, operation: str, **parameters: str) -> RequiredPermission:
    headers = {**signed(service), "x-amz-target": f"Target_20120810.{operation}"}
    return permission_for(AwsRequest("POST", "/", "", headers, json.dumps(parameters).encode()))


def s3_call(method: str, path: str) -> RequiredPermission:
    return permission_for(AwsRequest(method, path, "", signed("s3"), b""))


def test_a_signature_contains_the_key_the_region_and_the_service() -> None:
    request = AwsRequest("GET", "/", "", signed("sqs"), b"")

    assert request.signature() == Signature("ASIAKEY", "eu-west-1", "sqs")


def test_a_presigned_url_is_a_call_of_its_signer() -> None:
    query = "X-Amz-Credential=ASIAKEY%2F20261124%2Feu-west-1%2Fs3%2Faws4_request&X-Amz-Expires=600"
    request = AwsRequest("GET", "/results/results/1.jpg", query, {}, b"")

    assert request.signature() == Signature("ASIAKEY", "eu-west-1", "s3")
    assert permission_for(request) == RequiredPermission(
        "s3:GetObject", "arn:aws:s3:::results/results/1.jpg"
    )


def test_an_unsigned_request_has_no_signature() -> None:
    assert AwsRequest("GET", "/moto-api/", "", {}, b"").signature() is None


@pytest.mark.parametrize(
    ("permission", "action", "resource"),
    [
        (
            json_call("dynamodb", "GetItem", TableName="tasks"),
            "dynamodb:GetItem",
            "arn:aws:dynamodb:eu-west-1:123456789012:table/tasks",
        ),
        (
            json_call("dynamodb", "Query", TableName="tasks", IndexName="OpenTasks"),
            "dynamodb:Query",
            "arn:aws:dynamodb:eu-west-1:123456789012:table/tasks/index/OpenTasks",
        ),
        (json_call("dynamodb", "ListTables"), "dynamodb:ListTables", "*"),
        (
            json_call("sqs", "SendMessageBatch", QueueUrl="https://sqs/123456789012/tasks"),
            "sqs:SendMessage",
            "arn:aws:sqs:eu-west-1:123456789012:tasks",
        ),
        (
            json_call("secretsmanager", "GetSecretValue", SecretId="arn:aws:secretsmanager:x"),
            "secretsmanager:GetSecretValue",
            "arn:aws:secretsmanager:x",
        ),
        (
            json_call("secretsmanager", "GetSecretValue", SecretId="keys"),
            "secretsmanager:GetSecretValue",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:keys",
        ),
        (s3_call("PUT", "/b/results/1"), "s3:PutObject", "arn:aws:s3:::b/results/1"),
        (s3_call("HEAD", "/b/results/1"), "s3:GetObject", "arn:aws:s3:::b/results/1"),
        (s3_call("DELETE", "/b/results/1"), "s3:DeleteObject", "arn:aws:s3:::b/results/1"),
        (s3_call("GET", "/b"), "s3:ListBucket", "arn:aws:s3:::b"),
        (s3_call("GET", "/b/"), "s3:ListBucket", "arn:aws:s3:::b"),
        (s3_call("GET", "/"), "s3:ListAllMyBuckets", "*"),
        (
            permission_for(
                AwsRequest("POST", "/", "", signed("iam"), b"Action=CreateUser&UserName=x")
            ),
            "iam:CreateUser",
            "*",
        ),
    ],
)
def test_a_request_needs_the_permission_for_its_action_and_resource(
    permission: RequiredPermission, action: str, resource: str
) -> None:
    assert permission == RequiredPermission(action, resource)
