"""Finds the permission that a request to AWS needs: its signer, action and resource.

moto's own IAM checks know resources only for SQS and S3 and ignore presigned URLs. Actions and
resource types are those of the Service Authorization Reference.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

_CREDENTIAL = re.compile(
    r"(?P<key>[^/\s=]+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request"
)

ANY_RESOURCE = "*"


@dataclass(frozen=True, slots=True)
class Signature:
    access_key_id: str
    region: str
    service: str


@dataclass(frozen=True, slots=True, order=True)
class RequiredPermission:
    """`resource` is an ARN, or ``*`` if the action has no resource or this module ignores it.

    `passed_to` is the service to which ``iam:PassRole`` passes a role.
    """

    action: str
    resource: str
    passed_to: str | None = None

    def __str__(self) -> str:
        return f"{self.action} on {self.resource}"


@dataclass(frozen=True, slots=True)
class AwsRequest:
    """`headers` have names in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    def signature(self) -> Signature | None:
        """The signature in the header or in the query of a presigned URL; None if unsigned."""
        presigned = parse_qs(self.query).get("X-Amz-Credential", [""])[0]
        found = _CREDENTIAL.search(self.headers.get("authorization", "") or presigned)
        return Signature(found["key"], found["region"], found["service"]) if found else None

    def required_permission(self, signature: Signature, *, account: str) -> RequiredPermission:
        if signature.service == "s3":
            return _s3_permission(self.method, self.path)
        if target := self.headers.get("x-amz-target"):
            operation = target.rpartition(".")[2]
            parameters = json.loads(self.body or b"{}")
            return _json_permission(operation, parameters, signature, account)
        action = parse_qs(self.body.decode()).get("Action", [f"{self.method} {self.path}"])[0]
        return RequiredPermission(f"{signature.service}:{action}", ANY_RESOURCE)


def _s3_permission(method: str, path: str) -> RequiredPermission:
    bucket, _, key = path.lstrip("/").partition("/")
    if not bucket:
        return RequiredPermission("s3:ListAllMyBuckets", ANY_RESOURCE)
    if not key:
        is_listing = method in {"GET", "HEAD"}
        return RequiredPermission(
            "s3:ListBucket" if is_listing else f"s3:{method} bucket", f"arn:aws:s3:::{bucket}"
        )
    verb = {"GET": "Get", "HEAD": "Get", "PUT": "Put", "POST": "Put", "DELETE": "Delete"}[method]
    return RequiredPermission(f"s3:{verb}Object", f"arn:aws:s3:::{bucket}/{key}")


def _json_permission(
    operation: str, parameters: Mapping[str, Any], signature: Signature, account: str
) -> RequiredPermission:
    service = signature.service
    find_resource = _RESOURCES.get(service)
    if find_resource is None:
        resource = ANY_RESOURCE
    else:
        resource = find_resource(parameters, f"arn:aws:{service}:{signature.region}:{account}")
    if service == "sqs":
        # SendMessageBatch needs sqs:SendMessage, and so on.
        operation = operation.removesuffix("Batch")
    return RequiredPermission(f"{service}:{operation}", resource)


def _table_or_index(parameters: Mapping[str, Any], prefix: str) -> str:
    if "TableName" not in parameters:
        return ANY_RESOURCE
    table = f"{prefix}:table/{parameters['TableName']}"
    return f"{table}/index/{parameters['IndexName']}" if "IndexName" in parameters else table


def _queue(parameters: Mapping[str, Any], prefix: str) -> str:
    url: str | None = parameters.get("QueueUrl")
    return f"{prefix}:{url.rpartition('/')[2]}" if url else ANY_RESOURCE


def _secret(parameters: Mapping[str, Any], prefix: str) -> str:
    name: str | None = parameters.get("SecretId")
    if name is None:
        return ANY_RESOURCE
    return name if name.startswith("arn:") else f"{prefix}:secret:{name}"


def _task_definition(parameters: Mapping[str, Any], prefix: str) -> str:
    name: str | None = parameters.get("taskDefinition")
    if name is None:
        return ANY_RESOURCE
    return name if name.startswith("arn:") else f"{prefix}:task-definition/{name}"


_RESOURCES: Mapping[str, Callable[[Mapping[str, Any], str], str]] = {
    "dynamodb": _table_or_index,
    "ecs": _task_definition,
    "secretsmanager": _secret,
    "sqs": _queue,
}
