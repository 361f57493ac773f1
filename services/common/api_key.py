"""API keys: the stored entry, and how a client's token is parsed and verified.

A client sends the token ``<keyId>.<secret>``. The entry in Secrets Manager is a JSON object that
maps key ids to `ApiKey` objects. It contains the hash of each key's secret, never the secret. A
secret has 256 random bits and cannot be guessed, so one round of SHA-256 is enough.
"""

import hashlib
import hmac
import re
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Scope(StrEnum):
    """What a key allows, on the tasks of its own client only."""

    SUBMIT = "submit"
    """Create tasks."""
    READ = "read"
    """Read tasks and download results."""
    OPERATE = "operate"
    """Cancel and retry tasks."""


CLIENT_NAME_PATTERN = r"^[A-Za-z0-9._-]{1,64}$"
"""Client names appear in index keys and in every log line."""


class ApiKey(BaseModel):
    """One entry of the secret. Members that are not listed here, such as a label, are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    client: Annotated[str, Field(pattern=CLIENT_NAME_PATTERN)]
    """The owner of the tasks. A client may have several keys, and so rotate them without a gap."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", repr=False)]
    scopes: frozenset[Scope]

    def matches(self, secret: str) -> bool:
        """Whether `secret` belongs to this key. Takes constant time."""
        return hmac.compare_digest(self.sha256, hash_secret(secret))


UNKNOWN_KEY = ApiKey(client="unknown", sha256="0" * 64, scopes=frozenset())
"""Stands in for an unknown key id, so that its rejection takes as long. Matches no secret."""

_TOKEN = re.compile(r"([A-Za-z0-9_-]{1,64})\.([A-Za-z0-9_-]{1,128})")


def parse_token(text: str) -> tuple[str, str] | None:
    """The key id and secret in ``<keyId>.<secret>``, or None if `text` has another form."""
    parts = _TOKEN.fullmatch(text)
    return (parts[1], parts[2]) if parts else None


def hash_secret(secret: str) -> str:
    """The SHA-256 of a key's secret, in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()
