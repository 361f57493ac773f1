"""The secret of keys: concurrent edits, interrupted edits, and values that are not keys."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Barrier, Thread
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from services.common.api_key import ApiKey, Scope, hash_secret
from taskctl.errors import OperatorError
from taskctl.key_store import MAX_BYTES, KeyStore
from tests.conftest import Cloud

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient

KEY = ApiKey(client="alice", sha256=hash_secret("s"), scopes=frozenset({Scope.READ}))


@dataclass
class HookedClient:
    """A client that calls a function once, before or after the named call."""

    client: "SecretsManagerClient"
    before: dict[str, Callable[[], object]] = field(default_factory=dict)
    after: dict[str, Callable[[], object]] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            self.before.pop(name, lambda: None)()
            response = getattr(self.client, name)(**arguments)
            self.after.pop(name, lambda: None)()
            return response

        return call


def store_with(client: object, cloud: Cloud) -> KeyStore:
    return KeyStore(
        cast("SecretsManagerClient", client), secret_id=cloud.resources.api_keys_secret_id
    )


@pytest.fixture
def store(cloud: Cloud) -> KeyStore:
    return store_with(cloud.secretsmanager, cloud)


def refused(code: str) -> Callable[[], None]:
    def refuse() -> None:
        raise ClientError({"Error": {"Code": code, "Message": "No"}}, "UpdateSecretVersionStage")

    return refuse


def time_out() -> None:
    raise ReadTimeoutError(endpoint_url="https://secretsmanager")


def put(cloud: Cloud, text: str) -> None:
    cloud.secretsmanager.put_secret_value(
        SecretId=cloud.resources.api_keys_secret_id, SecretString=text
    )


def stored_text(cloud: Cloud) -> str:
    return cloud.secretsmanager.get_secret_value(
        SecretId=cloud.resources.api_keys_secret_id, VersionStage="AWSCURRENT"
    )["SecretString"]


def test_only_the_hash_of_a_key_is_stored(store: KeyStore, cloud: Cloud) -> None:
    store.add("one", KEY)
    assert json.loads(stored_text(cloud)) == {
        "one": {"client": "alice", "sha256": hash_secret("s"), "scopes": ["read"]}
    }


@pytest.mark.parametrize("moment", ["get_secret_value", "put_secret_value"])
def test_a_concurrent_edit_is_kept(store: KeyStore, cloud: Cloud, moment: str) -> None:
    interrupted = HookedClient(
        cloud.secretsmanager, after={moment: lambda: store.add("theirs", KEY)}
    )
    store_with(interrupted, cloud).add("mine", KEY)
    assert set(store.keys()) == {"mine", "theirs"}


def test_a_key_revoked_during_an_edit_stays_revoked(store: KeyStore, cloud: Cloud) -> None:
    store.add("old", KEY)
    interrupted = HookedClient(
        cloud.secretsmanager, before={"put_secret_value": lambda: store.remove("old")}
    )
    store_with(interrupted, cloud).add("new", KEY)
    assert set(store.keys()) == {"new"}


def test_concurrent_edits_all_take_effect(store: KeyStore) -> None:
    together = Barrier(4)

    def add(key_id: str) -> None:
        together.wait()
        store.add(key_id, KEY)

    threads = [Thread(target=add, args=(f"key-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(store.keys()) == {f"key-{n}" for n in range(4)}


def test_an_interrupted_edit_changes_nothing(store: KeyStore, cloud: Cloud) -> None:
    store.add("old", KEY)
    failing = HookedClient(cloud.secretsmanager, before={"update_secret_version_stage": time_out})
    with pytest.raises(OperatorError, match="Cannot change the secret"):
        store_with(failing, cloud).add("new", KEY)
    assert set(store.keys()) == {"old"}
    store.add("next", KEY)
    assert set(store.keys()) == {"old", "next"}


def test_an_edit_whose_response_was_lost_takes_effect_once(store: KeyStore, cloud: Cloud) -> None:
    """boto3 retries the call, and Secrets Manager refuses the second one."""
    store.add("old", KEY)
    edits: list[Callable[[KeyStore], None]] = [
        lambda store: store.add("new", KEY),
        lambda store: store.remove("old"),
    ]
    for edit in edits:
        lossy = HookedClient(
            cloud.secretsmanager,
            after={"update_secret_version_stage": refused("InvalidParameterException")},
        )
        edit(store_with(lossy, cloud))
    assert set(store.keys()) == {"new"}


def test_interrupted_edits_use_only_one_label(store: KeyStore, cloud: Cloud) -> None:
    for n in range(3):
        failing = HookedClient(
            cloud.secretsmanager, before={"update_secret_version_stage": time_out}
        )
        with pytest.raises(OperatorError):
            store_with(failing, cloud).add(f"key-{n}", KEY)
    versions = cloud.secretsmanager.list_secret_version_ids(
        SecretId=cloud.resources.api_keys_secret_id, IncludeDeprecated=True
    )["Versions"]
    labels = [label for version in versions for label in version.get("VersionStages", [])]
    assert sorted(labels) == ["AWSCURRENT", "TASKCTL_EDIT"]


def test_a_denied_edit_is_reported_and_not_retried(store: KeyStore, cloud: Cloud) -> None:
    denied = HookedClient(
        cloud.secretsmanager,
        before={"update_secret_version_stage": refused("AccessDeniedException")},
    )
    with pytest.raises(
        OperatorError, match=r"Cannot change the secret .*: No \(AccessDeniedException\)"
    ):
        store_with(denied, cloud).add("new", KEY)


def test_a_key_id_in_use_is_not_overwritten(store: KeyStore) -> None:
    store.add("one", KEY)
    with pytest.raises(OperatorError, match="Another key has the ID one"):
        store.add("one", KEY.model_copy(update={"client": "bob"}))
    assert store.keys()["one"].client == "alice"


def test_an_edit_keeps_unknown_members(store: KeyStore, cloud: Cloud) -> None:
    entry = {"client": "bob", "sha256": "0" * 64, "scopes": [], "label": "laptop"}
    put(cloud, json.dumps({"old": entry}))
    store.add("new", KEY)
    assert json.loads(stored_text(cloud))["old"] == entry


def test_keys_that_exceed_the_size_of_a_secret_are_rejected(store: KeyStore, cloud: Cloud) -> None:
    put(cloud, json.dumps({"old": {"label": "x" * (MAX_BYTES - 100)}}))
    with pytest.raises(OperatorError, match="65,536 bytes"):
        store.add("new", KEY)
    assert "new" not in stored_text(cloud)


@pytest.mark.parametrize("text", ["hunter2", '["hunter2"]', '"hunter2"'])
def test_a_secret_of_another_application_is_neither_shown_nor_overwritten(
    store: KeyStore, cloud: Cloud, text: str
) -> None:
    put(cloud, text)
    with pytest.raises(OperatorError) as raised:
        store.add("new", KEY)
    assert "hunter2" not in str(raised.value)
    assert stored_text(cloud) == text


def test_an_invalid_entry_is_reported_and_can_be_removed(store: KeyStore, cloud: Cloud) -> None:
    put(cloud, json.dumps({"bad": {"client": "al ice", "sha256": "0" * 64, "scopes": []}}))
    with pytest.raises(OperatorError, match=r"ignores the key bad .*: client"):
        store.keys()
    store.remove("bad")
    assert store.keys() == {}
