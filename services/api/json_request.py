"""A request that rejects ambiguous JSON.

JSON parsers differ on duplicate names, ``NaN`` and invalid text (RFC 8259 §4, §6, §8.1). If two
components parse a body differently, a check in one of them can be bypassed.
"""

import json
from typing import Any, NoReturn

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from services.api.http_errors import MalformedJson


class JsonRequest(Request):
    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:  # noqa: ARG002, FBT001, FBT002 - Flask's signature
        """The body as text that is valid JSON.

        It returns text and not data because flask-openapi3 passes text to ``model_validate_json``,
        whose strict mode accepts a list for a tuple. Raises 413, 415 or ``MalformedJson``, even if
        `silent` is true.
        """
        if self.mimetype != "application/json" or self.headers.get("Content-Encoding"):
            raise UnsupportedMediaType("The body must be application/json, without compression.")
        try:
            text = self._whole_body().decode("utf-8")
            json.loads(
                text, object_pairs_hook=_reject_duplicate_names, parse_constant=_reject_constant
            )
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

    def _whole_body(self) -> bytes:
        body = self.get_data()
        limit = self.max_content_length
        if self.content_length is None and limit is not None and len(body) >= limit:
            # werkzeug silently truncates a chunked body at the limit.
            raise RequestEntityTooLarge
        return body


def _reject_duplicate_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise MalformedJson("The body has an object with a duplicate name.")
    return members


def _reject_constant(name: str) -> NoReturn:
    raise MalformedJson(f"The body has {name}, which is not a JSON number.")
