"""The task routes, which translate between HTTP and `TaskService`."""

import math
import re
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from services.api.admission import submits
from services.api.auth import current_caller, requires
from services.api.http_errors import FieldError, InvalidRequest
from services.api.request_id import current_request_id
from services.api.routes.responses import AUTHENTICATED, errors
from services.api.schemas import Submission, TaskPath, TaskView
from services.api.task_service import SubmitOutcome, TaskService
from services.common.api_key import Scope
from services.common.task import Task

IDEMPOTENCY_KEY = "Idempotency-Key"
MAX_IDEMPOTENCY_KEY_LENGTH = 255
PRINTABLE = "^[!-~]([ -~]*[!-~])?$"
"""ASCII, without leading or trailing spaces, which HTTP strips from header values."""

MIN_POLL_S = 1
MAX_POLL_S = 30
POLL_FACTOR = 0.1
"""The suggested poll interval, as a fraction of the time since the task last changed."""

_SECURITY: list[dict[str, list[Any]]] = [{"apiKey": []}]
_IDEMPOTENCY_KEY_PARAMETER = {
    "name": IDEMPOTENCY_KEY,
    "in": "header",
    "description": "Chosen by the client. A repeated submission with the same key returns the "
    "existing task with status 201.",
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
        description="Returns 201 if the task is queued, or 202 if it is only recorded and will be "
        "queued within minutes.",
        openapi_extensions={"parameters": [_IDEMPOTENCY_KEY_PARAMETER]},
    )
    @requires(Scope.SUBMIT)
    @submits
    def submit(body: Submission) -> Response:
        """Submit an image"""
        outcome = service.submit(
            current_caller().client,
            body,
            idempotency_key=_idempotency_key(),
            request_id=current_request_id(),
        )
        return _respond(outcome, created=True)

    @routes.get(
        "/tasks/<taskId>",
        operation_id="getTask",
        description="For an open task, `Retry-After` says when to poll again.",
        responses={200: TaskView, **errors(*AUTHENTICATED, 404)},
    )
    @requires(Scope.READ)
    def get(path: TaskPath) -> Response:
        """Get a task"""
        return _task_response(service.get(current_caller().client, path.task_id), HTTPStatus.OK)

    @routes.get(
        "/tasks/<taskId>/result",
        operation_id="getTaskResult",
        responses={
            307: {
                "description": "Redirect to the result, valid for a few minutes",
                "headers": {"Location": {"schema": {"type": "string"}, "required": True}},
            },
            **errors(*AUTHENTICATED, 404, 409, 410),
        },
    )
    @requires(Scope.READ)
    def result(path: TaskPath) -> Response:
        """Download the result"""
        location = service.result_location(current_caller().client, path.task_id)
        return Response(status=HTTPStatus.TEMPORARY_REDIRECT, headers={"Location": location})

    @routes.post(
        "/tasks/<taskId>/cancel",
        operation_id="cancelTask",
        responses={200: TaskView, **errors(*AUTHENTICATED, 404, 409)},
    )
    @requires(Scope.OPERATE)
    def cancel(path: TaskPath) -> Response:
        """Cancel an open task"""
        return _task_response(service.cancel(current_caller().client, path.task_id), HTTPStatus.OK)

    @routes.post(
        "/tasks/<taskId>/retry",
        operation_id="retryTask",
        responses={200: TaskView, 202: TaskView, **errors(*AUTHENTICATED, 404, 409, 429)},
    )
    @requires(Scope.OPERATE)
    @submits
    def retry(path: TaskPath) -> Response:
        """Retry a failed or canceled task"""
        outcome = service.retry(
            current_caller().client, path.task_id, request_id=current_request_id()
        )
        return _respond(outcome, created=False)

    def _respond(outcome: SubmitOutcome, *, created: bool) -> Response:
        queued_status = HTTPStatus.CREATED if created else HTTPStatus.OK
        status = queued_status if outcome.queued else HTTPStatus.ACCEPTED
        response = _task_response(outcome.task, status)
        if created:
            response.headers["Location"] = f"/tasks/{outcome.task.task_id}"
        if outcome.replayed:
            response.headers["Idempotent-Replayed"] = "true"
        return response

    def _task_response(task: Task, status: HTTPStatus) -> Response:
        # A key with only the submit scope must not read a result by repeating a submission.
        may_read = Scope.READ in current_caller().scopes
        view = TaskView.of(task, result_url=service.result_url(task) if may_read else None)
        body = view.model_dump_json(by_alias=True, exclude_none=True)
        response = Response(body, status, content_type="application/json")
        if not task.is_terminal():
            response.headers["Retry-After"] = str(_poll_after_s(task, clock()))
        return response

    return routes


def _poll_after_s(task: Task, now: datetime) -> int:
    unchanged_s = (now - task.updated_at).total_seconds()
    return math.ceil(min(max(unchanged_s * POLL_FACTOR, MIN_POLL_S), MAX_POLL_S))


def _idempotency_key() -> str | None:
    key = request.headers.get(IDEMPOTENCY_KEY)
    if key is None:
        return None
    if len(key) > MAX_IDEMPOTENCY_KEY_LENGTH or not re.fullmatch(PRINTABLE, key):
        message = f"Must be 1 to {MAX_IDEMPOTENCY_KEY_LENGTH} printable ASCII characters"
        raise InvalidRequest([FieldError(IDEMPOTENCY_KEY, message)])
    return key
