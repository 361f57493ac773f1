"""The API keys in memory, refreshed by a background thread.

Requests use the keys in memory and never wait for Secrets Manager. A revoked key is rejected after
`api_keys_refresh_s` plus the time of one call, without a restart.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import structlog
from pydantic import ValidationError

from services.common.api_key import ApiKey
from services.common.aws import wrap_errors
from services.common.errors import SecretUnavailable

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient

log = structlog.get_logger()

FIRST_READ_S = 5.0


class ApiKeysSecret:
    """The secret that ``taskctl`` writes."""

    def __init__(self, client: "SecretsManagerClient", *, secret_id: str) -> None:
        self._client = client
        self._secret_id = secret_id

    def read(self) -> str:
        """The text of the secret. Raises ``SecretUnavailable``."""
        with wrap_errors(SecretUnavailable):
            # AWSCURRENT is the default of Secrets Manager, but not of every emulator.
            return self._client.get_secret_value(
                SecretId=self._secret_id, VersionStage="AWSCURRENT"
            )["SecretString"]


class KeyRing:
    """The keys as last read from the secret.

    While Secrets Manager is unavailable, they stay valid until they are `max_age_s` old. A short
    outage therefore has no effect, and a long one does not keep a revoked key valid. `monotonic` is
    a clock in seconds.
    """

    def __init__(
        self,
        *,
        read: Callable[[], str],
        max_age_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._max_age_s = max_age_s
        self._monotonic = monotonic
        self._keys: Mapping[str, ApiKey] = {}
        self._valid_until: float | None = None

    def refresh(self) -> None:
        """Read the keys again. On ``SecretUnavailable``, the old keys stay."""
        started = self._monotonic()
        self._keys = _parse(self._read())
        self._valid_until = started + self._max_age_s

    def find(self, key_id: str) -> ApiKey | None:
        """The key with this id. Raises ``SecretUnavailable`` as `require_valid` does."""
        self.require_valid()
        return self._keys.get(key_id)

    def require_valid(self) -> None:
        """Raise ``SecretUnavailable`` if the keys in memory are too old."""
        if self._valid_until is None or self._monotonic() > self._valid_until:
            raise SecretUnavailable(
                "The API keys are too old, because they could not be refreshed."
            )


def _parse(text: str) -> dict[str, ApiKey]:
    try:
        entries = json.loads(text)
    except ValueError:
        entries = None
    if not isinstance(entries, dict):
        # Neither the text nor an error that quotes it may be logged.
        raise SecretUnavailable("The secret with the API keys is not a JSON object.") from None
    keys = {}
    for key_id, entry in entries.items():
        try:
            keys[key_id] = ApiKey.model_validate(entry)
        except ValidationError as invalid:
            fields = [".".join(map(str, error["loc"])) for error in invalid.errors()]
            log.warning("api key ignored", key_id=key_id, invalid_fields=fields)
    return keys


class KeyRefresher:
    """The thread that refreshes a key ring every `interval_s` until the process ends."""

    def __init__(self, ring: KeyRing, *, interval_s: float) -> None:
        self._ring = ring
        self._interval_s = interval_s
        self._stopped = threading.Event()
        self._first_read = threading.Event()
        self._thread = threading.Thread(target=self._run, name="api-keys", daemon=True)

    def start(self) -> None:
        """Refresh the keys in the background, and wait up to `FIRST_READ_S` for the first time.

        A server must start and pass its health checks while Secrets Manager hangs.
        """
        self._thread.start()
        self._first_read.wait(FIRST_READ_S)

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        self._refresh()
        self._first_read.set()
        while not self._stopped.wait(self._interval_s):
            self._refresh()

    def _refresh(self) -> None:
        try:
            self._ring.refresh()
        except Exception:  # the outermost loop: the next refresh may succeed
            log.exception("api keys not refreshed")
