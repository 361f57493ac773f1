"""A request whose JSON body is taken literally or not at all.

JSON parsers differ on repeated names, ``NaN`` and broken text (RFC 8259 §4, §6, §8.1), and what two
readers understand differently is where checks are slipped past. So such bodies are refused.
"""

import json
from typing import Any, NoReturn

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from services.api.errors import MalformedJson


class JsonRequest(Request):
    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:  # noqa: ARG002, FBT001, FBT002 - Flask's signature
        """The body's text, known to be JSON.

        Not its data: flask-openapi3 hands text to ``model_validate_json``, whose strict mode knows
        that JSON has no tuples. Raises 413, 415 or ``MalformedJson``, whatever `silent` says.
        """
        if self.mimetype != "application/json" or self.headers.get("Content-Encoding"):
            raise UnsupportedMediaType("The body must be application/json, without compression.")
        try:
            text = self._whole_body().decode("utf-8")
            json.loads(text, object_pairs_hook=_no_repeated_name, parse_constant=_no_constant)
        except json.JSONDecodeError as error:
            raise MalformedJson(
                f"The body is not JSON: {error.msg}, line {error.lineno} column {error.colno}."
            ) from None
        except UnicodeDecodeError:
            raise MalformedJson("The body is not UTF-8.") from None
        except RecursionError:
            raise MalformedJson("The body is nested too deeply.") from None
        except ValueError:  # CPython's limit on the digits of an integer
            raise MalformedJson("The body has a number with too many digits.") from None
        return text

    def _whole_body(self) -> bytes:
        body = self.get_data()
        limit = self.max_content_length
        if self.content_length is None and limit is not None and len(body) >= limit:
            # Of a body in chunks, werkzeug gives as much as the limit allows and says no word.
            raise RequestEntityTooLarge
        return body


def _no_repeated_name(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise MalformedJson("The body has an object with the same name twice.")
    return members


def _no_constant(name: str) -> NoReturn:
    raise MalformedJson(f"The body has {name}, which is not a JSON number.")
