"""The routes of tasks: HTTP on the outside, `TaskService` on the inside."""

import math
import re
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from services.api.auth import current_caller, requires
from services.api.errors import FieldError, InvalidRequest
from services.api.request_id import current_request_id
from services.api.routes.responses import AUTHENTICATED, errors
from services.api.schemas import Submission, TaskPath, TaskView
from services.api.task_service import Submitted, TaskService
from services.common.api_key import Scope
from services.common.task import Task

IDEMPOTENCY_KEY = "Idempotency-Key"
MAX_IDEMPOTENCY_KEY_LENGTH = 255
PRINTABLE = "^[!-~]([ -~]*[!-~])?$"
"""ASCII, with spaces inside only: those around a header's value are not part of it."""

SHORTEST_POLL_S = 1
LONGEST_POLL_S = 30
POLL_SHARE = 0.1
"""Of the time for which a task has not changed: how long until it is worth asking again."""

_SECURITY: list[dict[str, list[Any]]] = [{"apiKey": []}]
_IDEMPOTENCY_KEY_PARAMETER = {
    "name": IDEMPOTENCY_KEY,
    "in": "header",
    "description": "Chosen by the client; a repeat with the same key gets the same task, as it "
    "stands, with status 201.",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_IDEMPOTENCY_KEY_LENGTH,
        "pattern": PRINTABLE,
    },
}


def task_routes(service: TaskService, *, clock: Callable[[], datetime]) -> APIBlueprint:
    routes = APIBlueprint("tasks", __name__, abp_tags=[Tag(name="Tasks")], abp_security=_SECURITY)

    @routes.post(
        "/tasks",
        operation_id="submitTask",
        responses={
            201: TaskView,
            202: TaskView,
            **errors(*AUTHENTICATED, 400, 413, 415, 422, 429),
        },
        description="201 when the task is queued, 202 when it is recorded and will be queued "
        "within minutes.",
        openapi_extensions={"parameters": [_IDEMPOTENCY_KEY_PARAMETER]},
    )
    @requires(Scope.SUBMIT)
    def submit(body: Submission) -> Response:
        """Submit an image"""
        outcome = service.submit(
            current_caller().client,
            body,
            idempotency_key=_idempotency_key(),
            request_id=current_request_id(),
        )
        return _answer(outcome, created=True)

    @routes.get(
        "/tasks/<taskId>",
        operation_id="getTask",
        description="While it is open, `Retry-After` says when it is worth asking again.",
        responses={200: TaskView, **errors(*AUTHENTICATED, 404)},
    )
    @requires(Scope.READ)
    def get(path: TaskPath) -> Response:
        """Look at a task"""
        return _show(service.get(current_caller().client, path.task_id), HTTPStatus.OK)

    @routes.get(
        "/tasks/<taskId>/result",
        operation_id="getTaskResult",
        responses={
            307: {
                "description": "Where the image is, for a few minutes",
                "headers": {"Location": {"schema": {"type": "string"}, "required": True}},
            },
            **errors(*AUTHENTICATED, 404, 409, 410),
        },
    )
    @requires(Scope.READ)
    def result(path: TaskPath) -> Response:
        """Fetch the result"""
        location = service.result_location(current_caller().client, path.task_id)
        return Response(status=HTTPStatus.TEMPORARY_REDIRECT, headers={"Location": location})

    @routes.post(
        "/tasks/<taskId>/cancel",
        operation_id="cancelTask",
        responses={200: TaskView, **errors(*AUTHENTICATED, 404, 409)},
    )
    @requires(Scope.OPERATE)
    def cancel(path: TaskPath) -> Response:
        """Cancel a task that is not over"""
        return _show(service.cancel(current_caller().client, path.task_id), HTTPStatus.OK)

    @routes.post(
        "/tasks/<taskId>/retry",
        operation_id="retryTask",
        responses={200: TaskView, 202: TaskView, **errors(*AUTHENTICATED, 404, 409, 429)},
    )
    @requires(Scope.OPERATE)
    def retry(path: TaskPath) -> Response:
        """Try a failed or canceled task again"""
        outcome = service.retry(
            current_caller().client, path.task_id, request_id=current_request_id()
        )
        return _answer(outcome, created=False)

    def _answer(outcome: Submitted, *, created: bool) -> Response:
        done = HTTPStatus.CREATED if created else HTTPStatus.OK
        response = _show(outcome.task, done if outcome.queued else HTTPStatus.ACCEPTED)
        if created:
            response.headers["Location"] = f"/tasks/{outcome.task.task_id}"
        if outcome.replayed:
            response.headers["Idempotent-Replayed"] = "true"
        return response

    def _show(task: Task, status: HTTPStatus) -> Response:
        # A key that may only submit sees the image of no repeated submission either.
        may_read = Scope.READ in current_caller().scopes
        view = TaskView.of(task, result_url=service.result_url(task) if may_read else None)
        body = view.model_dump_json(by_alias=True, exclude_none=True)
        response = Response(body, status, content_type="application/json")
        if not task.is_terminal():
            response.headers["Retry-After"] = str(_poll_after_s(task, clock()))
        return response

    return routes


def _poll_after_s(task: Task, now: datetime) -> int:
    still_for_s = (now - task.updated_at).total_seconds()
    return math.ceil(min(max(still_for_s * POLL_SHARE, SHORTEST_POLL_S), LONGEST_POLL_S))


def _idempotency_key() -> str | None:
    key = request.headers.get(IDEMPOTENCY_KEY)
    if key is None:
        return None
    if len(key) > MAX_IDEMPOTENCY_KEY_LENGTH or not re.fullmatch(PRINTABLE, key):
        message = f"Should be 1 to {MAX_IDEMPOTENCY_KEY_LENGTH} printable ASCII characters"
        raise InvalidRequest([FieldError(IDEMPOTENCY_KEY, message)])
    return key
