"""The catalogue of operations."""

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from services.api.auth import ANY_SCOPE, requires
from services.api.routes.responses import AUTHENTICATED, errors
from services.api.schemas import CatalogueView, LimitsView, OperationView
from services.common.config import ApiConfig
from services.common.operations import DEFAULT_OPERATIONS, MAX_OPERATIONS, catalogue


def operation_routes(config: ApiConfig) -> APIBlueprint:
    routes = APIBlueprint(
        "operations",
        __name__,
        abp_tags=[Tag(name="Operations")],
        abp_security=[{"apiKey": []}],
    )
    body = CatalogueView(
        operations=[OperationView.model_validate(entry) for entry in catalogue()],
        default=[operation.model_dump(mode="json") for operation in DEFAULT_OPERATIONS],
        max_operations=MAX_OPERATIONS,
        limits=LimitsView.of(config),
    ).model_dump_json(by_alias=True, exclude_none=True)

    @routes.get(
        "/operations",
        operation_id="listOperations",
        responses={200: CatalogueView, **errors(*AUTHENTICATED)},
    )
    @requires(*ANY_SCOPE)
    def list_operations() -> Response:
        """List the operations"""
        return Response(body, content_type="application/json")

    return routes
