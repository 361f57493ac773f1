"""Which permission a request to AWS needs: who signed it, for which action, on which resource.

moto itself knows the resource of SQS and S3 calls only, and takes no presigned URL for signed.
Names are those of the ServiceDefinition Authorization Reference.
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

ANY = "*"


@dataclass(frozen=True, slots=True)
class Signature:
    access_key_id: str
    region: str
    service: str


@dataclass(frozen=True, slots=True, order=True)
class RequiredPermission:
    """`resource` is an ARN, or ``*`` where the action has none or it is not known here.

    `passed_to` is the service that a role is passed to.
    """

    action: str
    resource: str
    passed_to: str | None = None

    def __str__(self) -> str:
        return f"{self.action} on {self.resource}"


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    def signature(self) -> Signature | None:
        """From the header or, of a presigned URL, the query."""
        presigned = parse_qs(self.query).get("X-Amz-Credential", [""])[0]
        found = _CREDENTIAL.search(self.headers.get("authorization", "") or presigned)
        return Signature(found["key"], found["region"], found["service"]) if found else None

    def call(self, signature: Signature, *, account: str) -> RequiredPermission:
        if signature.service == "s3":
            return _s3_call(self.method, self.path)
        if target := self.headers.get("x-amz-target"):
            operation = target.rpartition(".")[2]
            return _json_call(operation, json.loads(self.body or b"{}"), signature, account)
        action = parse_qs(self.body.decode()).get("Action", [f"{self.method} {self.path}"])[0]
        return RequiredPermission(f"{signature.service}:{action}", ANY)


def _s3_call(method: str, path: str) -> RequiredPermission:
    bucket, _, key = path.lstrip("/").partition("/")
    if not bucket:
        return RequiredPermission("s3:ListAllMyBuckets", ANY)
    if not key:
        listing = method in {"GET", "HEAD"}
        return RequiredPermission(
            "s3:ListBucket" if listing else f"s3:{method} bucket", f"arn:aws:s3:::{bucket}"
        )
    verb = {"GET": "Get", "HEAD": "Get", "PUT": "Put", "POST": "Put", "DELETE": "Delete"}[method]
    return RequiredPermission(f"s3:{verb}Object", f"arn:aws:s3:::{bucket}/{key}")


def _json_call(
    operation: str, parameters: Mapping[str, Any], signature: Signature, account: str
) -> RequiredPermission:
    service = signature.service
    find = _RESOURCES.get(service)
    resource = find(parameters, f"arn:aws:{service}:{signature.region}:{account}") if find else ANY
    if service == "sqs":
        operation = operation.removesuffix("Batch")  # one permission for both
    return RequiredPermission(f"{service}:{operation}", resource)


def _table_or_index(parameters: Mapping[str, Any], prefix: str) -> str:
    if "TableName" not in parameters:
        return ANY
    table = f"{prefix}:table/{parameters['TableName']}"
    return f"{table}/index/{parameters['IndexName']}" if "IndexName" in parameters else table


def _queue(parameters: Mapping[str, Any], prefix: str) -> str:
    url: str | None = parameters.get("QueueUrl")
    return f"{prefix}:{url.rpartition('/')[2]}" if url else ANY


def _secret(parameters: Mapping[str, Any], prefix: str) -> str:
    name: str | None = parameters.get("SecretId")
    if name is None:
        return ANY
    return name if name.startswith("arn:") else f"{prefix}:secret:{name}"


def _task_definition(parameters: Mapping[str, Any], prefix: str) -> str:
    name: str | None = parameters.get("taskDefinition")
    if name is None:
        return ANY
    return name if name.startswith("arn:") else f"{prefix}:task-definition/{name}"


_RESOURCES: Mapping[str, Callable[[Mapping[str, Any], str], str]] = {
    "dynamodb": _table_or_index,
    "ecs": _task_definition,
    "secretsmanager": _secret,
    "sqs": _queue,
}
