"""Liveness, which asks nobody, and readiness, which asks everyone."""

from http import HTTPStatus

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from services.api.auth import public
from services.api.readiness import Readiness
from services.api.routes.responses import errors
from services.api.schemas import HealthView


def health_routes(readiness: Readiness) -> APIBlueprint:
    routes = APIBlueprint("health", __name__, abp_tags=[Tag(name="Health")])

    @routes.get("/healthz", operation_id="getHealth", responses={200: HealthView, **errors()})
    @public
    def healthz() -> Response:
        """Liveness: this process answers"""
        return _answer(HealthView(status="ok"), HTTPStatus.OK)

    @routes.get(
        "/readyz",
        operation_id="getReadiness",
        responses={200: HealthView, 503: HealthView, **errors()},
    )
    @public
    def readyz() -> Response:
        """Readiness: what the service depends on answers"""
        failing = readiness.failing()
        if failing:
            view = HealthView(status="failing", failing=failing)
            return _answer(view, HTTPStatus.SERVICE_UNAVAILABLE)
        return _answer(HealthView(status="ok"), HTTPStatus.OK)

    return routes


def _answer(view: HealthView, status: HTTPStatus) -> Response:
    return Response(view.model_dump_json(), status, content_type="application/json")
