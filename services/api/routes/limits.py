"""The limits that apply to a client, from the values that enforce them."""

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from services.api.auth import ANY_SCOPE, requires
from services.api.routes.responses import AUTHENTICATED, errors
from services.api.schemas import LimitsView
from services.common.config import ApiConfig


def limit_routes(config: ApiConfig) -> APIBlueprint:
    routes = APIBlueprint(
        "limits", __name__, abp_tags=[Tag(name="Limits")], abp_security=[{"apiKey": []}]
    )
    body = LimitsView.of(config).model_dump_json(by_alias=True, exclude_none=True)

    @routes.get(
        "/limits",
        operation_id="getLimits",
        responses={200: LimitsView, **errors(*AUTHENTICATED)},
    )
    @requires(*ANY_SCOPE)
    def get_limits() -> Response:
        """Get every limit"""
        return Response(body, content_type="application/json")

    return routes
