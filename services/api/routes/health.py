"""Liveness, which has no dependencies, and readiness, which checks all of them."""

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from services.api.auth import public
from services.api.http_errors import NotReady
from services.api.readiness import Readiness
from services.api.routes.responses import errors
from services.api.schemas import HealthView


def health_routes(readiness: Readiness) -> APIBlueprint:
    routes = APIBlueprint("health", __name__, abp_tags=[Tag(name="Health")])

    @routes.get("/healthz", operation_id="getHealth", responses={200: HealthView, **errors()})
    @public
    def healthz() -> Response:
        """Liveness: the process responds"""
        return _ok()

    @routes.get("/readyz", operation_id="getReadiness", responses={200: HealthView, **errors(503)})
    @public
    def readyz() -> Response:
        """Readiness: every dependency responds"""
        failing = readiness.failing()
        if failing:
            raise NotReady(failing)
        return _ok()

    return routes


def _ok() -> Response:
    return Response(HealthView().model_dump_json(), content_type="application/json")
