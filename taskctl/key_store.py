"""The secret that holds every key's entry, edited by any number of operators at once.

Secrets Manager has no conditional write of a value, but it has one of a label: moving
``AWSCURRENT`` fails unless the version that carries it now is named ("UpdateSecretVersionStage",
AWS Secrets Manager API Reference). So an edit puts its version aside under a label of its own and
then moves ``AWSCURRENT`` from the version that it has read. If another edit came between, the move
fails and the edit starts again from what the other left: no key is lost or comes back, and the API
never reads a half-made edit. An edit that dies on the way has changed nothing.
"""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError
from pydantic import ValidationError

from services.common.api_key import ApiKey
from taskctl.errors import OperatorError, explained

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient

CURRENT = "AWSCURRENT"
EDIT = "TASKCTL_EDIT"
"""On the newest edit, current or not. One label for all, so that edits which die do not use up the
20 labels that a secret may have."""

MAX_BYTES = 65_536
"""The size of a secret's value ("AWS Secrets Manager quotas", AWS Secrets Manager User Guide)."""
MAX_TRIES = 20

_LOST_THE_RACE = frozenset({"InvalidParameterException", "InvalidRequestException"})

Entries = Mapping[str, Mapping[str, Any]]
"""As they are stored: members that this version does not know are kept through every edit."""


class _Version(NamedTuple):
    version_id: str
    entries: Entries


class KeyStore:
    """Every method raises ``OperatorError``."""

    def __init__(self, client: "SecretsManagerClient", *, secret_id: str) -> None:
        self._client = client
        self._secret_id = secret_id

    def keys(self) -> Mapping[str, ApiKey]:
        """Keys by their ids."""
        return {key_id: _parse(key_id, entry) for key_id, entry in self._read().entries.items()}

    def add(self, key_id: str, key: ApiKey) -> None:
        entry = {"client": key.client, "sha256": key.sha256, "scopes": sorted(key.scopes)}

        def added(entries: Entries) -> Entries:
            if entries.get(key_id, entry) != entry:
                raise OperatorError(f"There already is another key {key_id}.")
            return {**entries, key_id: entry}

        self._edit(added)

    def remove(self, key_id: str) -> None:
        if key_id not in self._read().entries:
            raise OperatorError(f"There is no key {key_id}.")
        self._edit(lambda entries: {each: entries[each] for each in entries if each != key_id})

    def _edit(self, change: Callable[[Entries], Entries]) -> None:
        """Apply `change`, which must not mind being applied again to its own outcome."""
        for _ in range(MAX_TRIES):
            read = self._read()
            changed = change(read.entries)
            if changed == read.entries:
                return
            version_id = self._put_aside(changed)
            if self._make_current(version_id, instead_of=read.version_id):
                return
        raise OperatorError(f"The secret {self._secret_id} is being edited without a pause.")

    def _read(self) -> _Version:
        with explained(f"The secret {self._secret_id} cannot be read"):
            answer = self._client.get_secret_value(SecretId=self._secret_id, VersionStage=CURRENT)
        try:
            entries = json.loads(answer["SecretString"])
        except (KeyError, ValueError):
            entries = None
        if not isinstance(entries, dict):
            # The text itself must not reach the terminal: it may be any secret.
            raise OperatorError(f"The secret {self._secret_id} holds something else than API keys.")
        return _Version(answer["VersionId"], entries)

    def _put_aside(self, entries: Entries) -> str:
        text = json.dumps(entries, separators=(",", ":"))
        if len(text.encode()) > MAX_BYTES:
            raise OperatorError(
                f"{len(entries)} keys are more than the {MAX_BYTES:,} bytes of a secret can hold: "
                "revoke some that are no longer used."
            )
        with explained(f"The secret {self._secret_id} cannot be changed"):
            # boto3 adds a ClientRequestToken, so that a call which it repeats makes one version.
            return self._client.put_secret_value(
                SecretId=self._secret_id, SecretString=text, VersionStages=[EDIT]
            )["VersionId"]

    def _make_current(self, version_id: str, *, instead_of: str) -> bool:
        """Whether `instead_of` still was the current version, and this one took its place.

        False also after a success whose answer was lost: the next look at the secret tells.
        """
        with explained(f"The secret {self._secret_id} cannot be changed"):
            try:
                self._client.update_secret_version_stage(
                    SecretId=self._secret_id,
                    VersionStage=CURRENT,
                    MoveToVersionId=version_id,
                    RemoveFromVersionId=instead_of,
                )
            except ClientError as refused:
                if refused.response["Error"]["Code"] not in _LOST_THE_RACE:
                    raise
                return False
        return True


def _parse(key_id: str, entry: object) -> ApiKey:
    try:
        return ApiKey.model_validate(entry)
    except ValidationError as invalid:
        members = ", ".join(".".join(map(str, error["loc"])) for error in invalid.errors())
        raise OperatorError(
            f"The API ignores the key {key_id}, because of its {members}: revoke it."
        ) from None
