"""The application on moto's table, queue and bucket, and the keys of two clients."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, cast
from uuid import UUID

import pytest
from flask import Flask
from werkzeug.test import Client, TestResponse

from services.api.app import create_app
from services.api.key_ring import KeyRing
from services.api.readiness import Readiness
from services.api.submission_limiter import SubmissionCounter, SubmissionLimiter
from services.common.api_key import Scope, hash_secret
from services.common.config import ApiConfig
from services.common.result_bucket import ResultBucket
from services.common.task_queue import TaskQueue
from services.common.task_table import TaskTable
from tests.conftest import Clock, Cloud
from tests.tasks import POLICY

URL = "https://example.com/photo.jpg"
NO_SETTINGS: Mapping[str, Any] = {}


def key_entry(client: str, *, secret: str, scopes: set[Scope]) -> dict[str, Any]:
    """An entry as ``taskctl`` writes it."""
    return {"client": client, "sha256": hash_secret(secret), "scopes": sorted(scopes)}


ALICE, BOB = "alice-1.alices-secret", "bob-1.bobs-secret"
KEYS = {
    "alice-1": key_entry("alice", secret="alices-secret", scopes=set(Scope)),
    "bob-1": key_entry("bob", secret="bobs-secret", scopes=set(Scope)),
    **{
        f"{scope}-only": key_entry("alice", secret="alices-secret", scopes={scope})
        for scope in Scope
    },
}


class ApiResponse(TestResponse):
    @property
    def body(self) -> Any:
        """The parsed JSON body."""
        return self.get_json()


@dataclass(frozen=True)
class Api:
    app: Flask

    def call(
        self,
        method: str,
        path: str,
        *,
        key: str | None = ALICE,
        headers: dict[str, str] | None = None,
        **request: Any,
    ) -> ApiResponse:
        authorization = {"Authorization": f"Bearer {key}"} if key else {}
        response = Client(self.app, ApiResponse).open(
            path, method=method, headers={**authorization, **(headers or {})}, **request
        )
        return cast("ApiResponse", response)

    def get(self, path: str, **more: Any) -> ApiResponse:
        return self.call("GET", path, **more)

    def post(self, path: str, **more: Any) -> ApiResponse:
        return self.call("POST", path, **more)

    def submit(self, body: Any = None, **more: Any) -> ApiResponse:
        return self.post("/tasks", json={"inputImageUrl": URL} if body is None else body, **more)


MakeApi = Callable[..., Api]


def build_api(
    cloud: Cloud,
    clock: Clock,
    *,
    submissions_per_minute: int = 0,
    settings: Mapping[str, Any] = NO_SETTINGS,
    **parts: Any,
) -> Api:
    """An application on these resources. `parts` replace its dependencies."""
    resources = cloud.resources
    config = ApiConfig(
        aws_region="us-east-1",
        task_table=resources.task_table,
        task_queue_url=resources.task_queue_url,
        result_bucket=resources.result_bucket,
        api_keys_secret_id=resources.api_keys_secret_id,
        **settings,
    )
    keys = KeyRing(read=lambda: json.dumps(KEYS), max_age_s=900)
    keys.refresh()
    ids = count(1)
    defaults = {
        "config": config,
        "table": TaskTable(cloud.dynamodb, table=resources.task_table, retention=POLICY.retention),
        "queue": TaskQueue(cloud.sqs, url=resources.task_queue_url),
        "bucket": ResultBucket(cloud.s3, bucket=resources.result_bucket),
        "keys": keys,
        "limiter": SubmissionLimiter(
            counter=SubmissionCounter(cloud.dynamodb, table=resources.task_table),
            limit=submissions_per_minute,
            clock=clock,
        ),
        "readiness": Readiness({"table": lambda: None}),
        "clock": clock,
        "new_id": lambda: str(UUID(int=next(ids), version=4)),
        "sleep": lambda _: None,
    }
    return Api(create_app(**{**defaults, **parts}))


@pytest.fixture
def make_api(cloud: Cloud, clock: Clock) -> MakeApi:
    return partial(build_api, cloud, clock)


@pytest.fixture
def api(make_api: MakeApi) -> Api:
    return make_api()
