"""A request that rejects ambiguous JSON.

JSON parsers differ on duplicate names, ``NaN`` and invalid text (RFC 8259 §4, §6, §8.1). If two
components parse a body differently, a check in one of them can be bypassed.
"""

import json
from typing import Any, NoReturn

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from services.api.http_errors import FieldError, InvalidRequest, MalformedJson

MAX_MEMBERS = 50
"""More than any object of the API has. Validation reports every unknown member, so thousands of
them would cost more than the rest of the request."""


class JsonRequest(Request):
    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:  # noqa: ARG002, FBT001, FBT002 - Flask's signature
        """The body as text that is valid JSON.

        It returns text and not data because flask-openapi3 passes text to ``model_validate_json``,
        whose strict mode accepts a list for a tuple. Raises 413, 415, ``MalformedJson`` or
        ``InvalidRequest``, even if `silent` is true.
        """
        if self.mimetype != "application/json" or self.headers.get("Content-Encoding"):
            raise UnsupportedMediaType("The body must be application/json, without compression.")
        try:
            text = self.whole_body().decode("utf-8")
            json.loads(text, object_pairs_hook=_check_members, parse_constant=_reject_constant)
        except json.JSONDecodeError as error:
            raise MalformedJson(
                f"The body is not JSON: {error.msg}, line {error.lineno} column {error.colno}."
            ) from None
        except UnicodeDecodeError:
            raise MalformedJson("The body is not UTF-8.") from None
        except RecursionError:
            raise MalformedJson("The body is nested too deeply.") from None
        except ValueError:  # CPython limits the digits of an integer
            raise MalformedJson("The body has a number with too many digits.") from None
        return text

    def whole_body(self) -> bytes:
        """The body as it was sent. Raises 413, or 400 if it ends early."""
        body = self.get_data()
        limit = self.max_content_length
        if self.content_length is None and limit is not None and len(body) >= limit:
            # werkzeug silently truncates a chunked body at the limit.
            raise RequestEntityTooLarge
        return body


def _check_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_MEMBERS:
        message = f"Has an object with more than {MAX_MEMBERS} members"
        raise InvalidRequest([FieldError("body", message)])
    members = dict(pairs)
    if len(members) < len(pairs):
        raise MalformedJson("The body has an object with a duplicate name.")
    return members


def _reject_constant(name: str) -> NoReturn:
    raise MalformedJson(f"The body has {name}, which is not a JSON number.")
