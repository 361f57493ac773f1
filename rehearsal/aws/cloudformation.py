"""Adds termination protection to moto's CloudFormation, and works around a defect of it.

The defect: describing a deleted stack in moto creates its resources again.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from moto.cloudformation.models import Stack, cloudformation_backends
from moto.cloudformation.parsing import OutputMap

from local.embedded_aws import REGION
from rehearsal.aws.request_body import read_body

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_FORM = "application/x-www-form-urlencoded"


class ExtendedCloudFormation:
    """WSGI middleware."""

    def __init__(self, app: "WSGIApplication", *, account: str) -> None:
        self._app = app
        self._account = account

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        backend = cloudformation_backends[self._account][REGION]
        for deleted in list(backend.deleted_stacks.values()):
            # moto resolves outputs when it describes a stack, and that creates the resources.
            deleted.output_map = OutputMap(deleted.resource_map, {}, deleted.stack_id)
        if environ.get("CONTENT_TYPE", "").startswith(_FORM):
            form = parse_qs(read_body(environ).decode())
            stack = _find(backend.stacks.values(), form.get("StackName", [""])[0])
            match form.get("Action"), stack:
                case ["UpdateTerminationProtection"], Stack():
                    protect = form["EnableTerminationProtection"] == ["true"]
                    stack.enable_termination_protection = protect
                    return _success(
                        start_response,
                        "UpdateTerminationProtection",
                        f"<StackId>{stack.stack_id}</StackId>",
                    )
                case ["DeleteStack"], Stack(enable_termination_protection=True):
                    return _validation_error(
                        start_response,
                        f"Stack [{stack.name}] cannot be deleted while TerminationProtection "
                        "is enabled",
                    )
        return self._app(environ, start_response)


def _find(stacks: Iterable[Stack], name_or_id: str) -> Stack | None:
    return next((each for each in stacks if name_or_id in {each.name, each.stack_id}), None)


def _success(start_response: "StartResponse", action: str, result: str) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/xml")])
    body = f"<{action}Response><{action}Result>{result}</{action}Result></{action}Response>"
    return [body.encode()]


def _validation_error(start_response: "StartResponse", message: str) -> Iterable[bytes]:
    start_response("400 Bad Request", [("Content-Type", "text/xml")])
    error = f"<Type>Sender</Type><Code>ValidationError</Code><Message>{message}</Message>"
    return [f"<ErrorResponse><Error>{error}</Error></ErrorResponse>".encode()]
