"""An API key: what the secret keeps of it, and how a presented one is held against that.

A client presents ``<keyId>.<secret>``. The secret in Secrets Manager is a JSON object of key ids
and their `ApiKey`; it never holds what a client presents, only its hash. The secret part has 256
random bits, so one round of SHA-256 is enough: there is nothing to guess.
"""

import hashlib
import hmac
import re
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Scope(StrEnum):
    """What a key may do, with its own client's tasks only."""

    SUBMIT = "submit"
    """Create tasks."""
    READ = "read"
    """See tasks and fetch results."""
    OPERATE = "operate"
    """Cancel and retry tasks."""


CLIENT_NAME_PATTERN = r"^[A-Za-z0-9._-]{1,64}$"
"""It is part of index keys and of every line of log."""


class ApiKey(BaseModel):
    """One entry of the secret. Other members, such as a label, are the operator's own."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    client: Annotated[str, Field(pattern=CLIENT_NAME_PATTERN)]
    """Owns the tasks; a client may have several keys, and so change them without a pause."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", repr=False)]
    scopes: frozenset[Scope]

    def matches(self, secret: str) -> bool:
        """In a time that does not depend on how much of `secret` is right."""
        return hmac.compare_digest(self.sha256, hash_secret(secret))


UNKNOWN_KEY = ApiKey(client="nobody", sha256="0" * 64, scopes=frozenset())
"""Compared with when a key id is unknown, so that the answer takes as long; no secret fits it."""

_PRESENTED = re.compile(r"([A-Za-z0-9_-]{1,64})\.([A-Za-z0-9_-]{1,128})")


def parse_token(text: str) -> tuple[str, str] | None:
    """Key id and secret of ``<keyId>.<secret>``, or None when it has another form."""
    parts = _PRESENTED.fullmatch(text)
    return (parts[1], parts[2]) if parts else None


def hash_secret(secret: str) -> str:
    """What the secret in Secrets Manager keeps of a key's secret part."""
    return hashlib.sha256(secret.encode()).hexdigest()
