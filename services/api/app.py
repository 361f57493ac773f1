"""The Flask application. All dependencies are passed in."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import NoReturn

from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI
from pydantic import ValidationError

from services.api import (
    access_log,
    cors,
    error_responses,
    request_id,
    security_headers,
    trailing_slash,
)
from services.api.admission import Admission
from services.api.auth import Authenticator
from services.api.error_responses import Problem, invalid_request
from services.api.json_request import JsonRequest
from services.api.key_ring import KeyRing
from services.api.readiness import Readiness
from services.api.routes.documentation import documentation_routes
from services.api.routes.health import health_routes
from services.api.routes.limits import limit_routes
from services.api.routes.operations import operation_routes
from services.api.routes.tasks import task_routes
from services.api.submission_limiter import SubmissionLimiter
from services.api.task_service import TaskService
from services.common.circuit_breaker import CircuitBreaker
from services.common.config import ApiConfig
from services.common.result_bucket import ResultBucket
from services.common.task_queue import TaskQueue
from services.common.task_table import TaskTable
from services.common.version import VERSION

SEND_FAILURES = 5
SEND_PAUSE_S = 5.0
"""After five failed sends in a row, a process records tasks without sending them, and tries one
send every five seconds."""


def create_app(
    *,
    config: ApiConfig,
    table: TaskTable,
    queue: TaskQueue,
    bucket: ResultBucket,
    keys: KeyRing,
    limiter: SubmissionLimiter,
    readiness: Readiness,
    clock: Callable[[], datetime],
    new_id: Callable[[], str],
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> OpenAPI:
    """`clock` returns the time in UTC, in whole milliseconds. `new_id` returns a unique task id."""
    app = OpenAPI(
        __name__,
        info=Info(
            title="Taskfleet",
            version=VERSION,
            description="Submit the URL of an image with operations to apply. Download the result. "
            "Of an animation or a document with several pages, the first frame or page is used, "
            "unless the submission names another `page`. `GET /limits` returns all limits.",
        ),
        security_schemes={"apiKey": {"type": "http", "scheme": "bearer"}},
        validation_error_status=500,  # every route documents its errors already, see `errors`
        validation_error_model=Problem,
        validation_error_callback=_raise_invalid_request,
        doc_ui=False,
        static_folder=None,
    )
    app.request_class = JsonRequest
    app.config["MAX_CONTENT_LENGTH"] = config.max_body_bytes
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False  # a redirect would reflect the Host header

    access_log.install(app)
    request_id.install(app)
    security_headers.install(app)
    error_responses.install(app)
    cors.install(app, origins=config.api_cors_origins)
    trailing_slash.install(app)

    service = TaskService(
        table=table,
        queue=queue,
        bucket=bucket,
        send_breaker=CircuitBreaker(
            "queue", failures=SEND_FAILURES, pause_s=SEND_PAUSE_S, monotonic=monotonic
        ),
        policy=config.submission_policy(),
        clock=clock,
        new_id=new_id,
        monotonic=monotonic,
        sleep=sleep,
    )
    app.register_api(task_routes(service, clock=clock))
    app.register_api(operation_routes(config))
    app.register_api(limit_routes(config))
    app.register_api(health_routes(readiness))
    app.register_blueprint(documentation_routes(lambda: app.api_doc))
    Authenticator(keys).install(app)
    Admission(threads=config.submission_threads(), limiter=limiter).install(app)
    return app


def _raise_invalid_request(invalid: ValidationError) -> NoReturn:
    raise invalid_request(invalid)
