"""The secret that stores all API keys. Several operators can edit it at the same time.

Secrets Manager has no conditional write of a value. But moving the label ``AWSCURRENT`` fails
unless the request names the version that has it ("UpdateSecretVersionStage", AWS Secrets Manager
API Reference), which makes an edit a compare-and-swap. An edit reads the current version, stores a
new version under a label of its own, and moves ``AWSCURRENT`` from the version that it read. If
another edit moved the label first, the edit starts again. So no key is lost or restored by mistake,
the API never reads a partial edit, and an edit that stops halfway changes nothing.
"""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError
from pydantic import ValidationError

from services.common.api_key import ApiKey
from taskctl.errors import OperatorError, report_aws_errors

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient

CURRENT = "AWSCURRENT"
EDIT = "TASKCTL_EDIT"
"""Label of the newest edit. All edits share it, because a secret has at most 20 labels ("AWS
Secrets Manager quotas", AWS Secrets Manager User Guide) and unfinished edits keep theirs."""

MAX_BYTES = 65_536
"""Maximum size of a secret value (same page)."""
MAX_TRIES = 20

_CONFLICT_CODES = frozenset({"InvalidParameterException", "InvalidRequestException"})

Entries = Mapping[str, Mapping[str, Any]]
"""The stored JSON by key ID. Edits keep members that this version does not know."""


class _Version(NamedTuple):
    version_id: str
    entries: Entries


class KeyStore:
    """Every method raises ``OperatorError``."""

    def __init__(self, client: "SecretsManagerClient", *, secret_id: str) -> None:
        self._client = client
        self._secret_id = secret_id

    def keys(self) -> Mapping[str, ApiKey]:
        """All keys by ID."""
        return {key_id: _parse(key_id, entry) for key_id, entry in self._read().entries.items()}

    def add(self, key_id: str, key: ApiKey) -> None:
        entry = {"client": key.client, "sha256": key.sha256, "scopes": sorted(key.scopes)}

        def added(entries: Entries) -> Entries:
            if entries.get(key_id, entry) != entry:
                raise OperatorError(f"Another key has the ID {key_id}.")
            return {**entries, key_id: entry}

        self._edit(added)

    def remove(self, key_id: str) -> None:
        if key_id not in self._read().entries:
            raise OperatorError(f"There is no key {key_id}.")
        self._edit(lambda entries: {each: entries[each] for each in entries if each != key_id})

    def _edit(self, change: Callable[[Entries], Entries]) -> None:
        """`change` must be idempotent: it may be applied to its own result."""
        for _ in range(MAX_TRIES):
            current = self._read()
            changed = change(current.entries)
            if changed == current.entries:
                return
            version_id = self._store(changed)
            if self._make_current(version_id, instead_of=current.version_id):
                return
        raise OperatorError(
            f"Other edits changed the secret {self._secret_id} {MAX_TRIES} times. Try again."
        )

    def _read(self) -> _Version:
        with report_aws_errors(f"Cannot read the secret {self._secret_id}"):
            response = self._client.get_secret_value(SecretId=self._secret_id, VersionStage=CURRENT)
        try:
            entries = json.loads(response["SecretString"])
        except (KeyError, ValueError):
            entries = None
        if not isinstance(entries, dict):
            # Do not print the value: it may be the secret of another application.
            raise OperatorError(f"The secret {self._secret_id} does not contain API keys.")
        return _Version(response["VersionId"], entries)

    def _store(self, entries: Entries) -> str:
        text = json.dumps(entries, separators=(",", ":"))
        if len(text.encode()) > MAX_BYTES:
            raise OperatorError(
                f"{len(entries)} keys do not fit into the {MAX_BYTES:,} bytes of a secret. "
                "Revoke keys that are no longer used."
            )
        with report_aws_errors(f"Cannot change the secret {self._secret_id}"):
            # boto3 adds a ClientRequestToken, so a retried call creates only one version.
            return self._client.put_secret_value(
                SecretId=self._secret_id, SecretString=text, VersionStages=[EDIT]
            )["VersionId"]

    def _make_current(self, version_id: str, *, instead_of: str) -> bool:
        """False if `instead_of` is no longer the current version.

        Also false if boto3 retried a call that had succeeded. The next read then finds the change.
        """
        with report_aws_errors(f"Cannot change the secret {self._secret_id}"):
            try:
                self._client.update_secret_version_stage(
                    SecretId=self._secret_id,
                    VersionStage=CURRENT,
                    MoveToVersionId=version_id,
                    RemoveFromVersionId=instead_of,
                )
            except ClientError as error:
                if error.response["Error"]["Code"] not in _CONFLICT_CODES:
                    raise
                return False
        return True


def _parse(key_id: str, entry: object) -> ApiKey:
    try:
        return ApiKey.model_validate(entry)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, each["loc"])) for each in error.errors())
        raise OperatorError(
            f"The API ignores the key {key_id} because these fields are invalid: {fields}. "
            "Revoke the key."
        ) from None
