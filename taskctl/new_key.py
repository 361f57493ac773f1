"""Generates API keys."""

from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field

SECRET_BYTES = 32
"""256 random bits cannot be guessed, so a plain hash protects them as well as a slow one."""
KEY_ID_BYTES = 6


@dataclass(frozen=True, slots=True)
class NewKey:
    key_id: str
    secret: str = field(repr=False)

    @property
    def bearer(self) -> str:
        """The token for the Authorization header."""
        return f"{self.key_id}.{self.secret}"


def new_key(random_bytes: Callable[[int], bytes]) -> NewKey:
    return NewKey(
        key_id=random_bytes(KEY_ID_BYTES).hex(),
        secret=urlsafe_b64encode(random_bytes(SECRET_BYTES)).rstrip(b"=").decode(),
    )
