"""The secret of keys, under operators that edit it at the same time and edits that break off."""

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
class Interrupted:
    """A client on which something happens once, just before or after a call goes through."""

    client: "SecretsManagerClient"
    before: dict[str, Callable[[], object]] = field(default_factory=dict)
    after: dict[str, Callable[[], object]] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            self.before.pop(name, lambda: None)()
            answer = getattr(self.client, name)(**arguments)
            self.after.pop(name, lambda: None)()
            return answer

        return call


def store_on(client: object, cloud: Cloud) -> KeyStore:
    return KeyStore(
        cast("SecretsManagerClient", client), secret_id=cloud.resources.api_keys_secret_id
    )


@pytest.fixture
def store(cloud: Cloud) -> KeyStore:
    return store_on(cloud.secretsmanager, cloud)


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


def text_of(cloud: Cloud) -> str:
    return cloud.secretsmanager.get_secret_value(
        SecretId=cloud.resources.api_keys_secret_id, VersionStage="AWSCURRENT"
    )["SecretString"]


def test_only_the_hash_of_a_key_is_stored(store: KeyStore, cloud: Cloud) -> None:
    store.add("one", KEY)
    assert json.loads(text_of(cloud)) == {
        "one": {"client": "alice", "sha256": hash_secret("s"), "scopes": ["read"]}
    }


@pytest.mark.parametrize("moment", ["get_secret_value", "put_secret_value"])
def test_an_edit_that_comes_between_is_kept(store: KeyStore, cloud: Cloud, moment: str) -> None:
    overtaken = Interrupted(cloud.secretsmanager, after={moment: lambda: store.add("theirs", KEY)})
    store_on(overtaken, cloud).add("mine", KEY)
    assert set(store.keys()) == {"mine", "theirs"}


def test_a_key_revoked_in_between_does_not_come_back(store: KeyStore, cloud: Cloud) -> None:
    store.add("old", KEY)
    overtaken = Interrupted(
        cloud.secretsmanager, before={"put_secret_value": lambda: store.remove("old")}
    )
    store_on(overtaken, cloud).add("new", KEY)
    assert set(store.keys()) == {"new"}


def test_edits_at_the_same_time_all_take_effect(store: KeyStore) -> None:
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


def test_an_edit_that_dies_on_the_way_changes_nothing(store: KeyStore, cloud: Cloud) -> None:
    store.add("old", KEY)
    dying = Interrupted(cloud.secretsmanager, before={"update_secret_version_stage": time_out})
    with pytest.raises(OperatorError, match="cannot be changed"):
        store_on(dying, cloud).add("new", KEY)
    assert set(store.keys()) == {"old"}
    store.add("next", KEY)
    assert set(store.keys()) == {"old", "next"}


def test_an_edit_whose_success_was_not_heard_of_counts_once(store: KeyStore, cloud: Cloud) -> None:
    """boto3 repeats a call whose answer was lost, and the repetition is refused."""
    store.add("old", KEY)
    edits: list[Callable[[KeyStore], None]] = [
        lambda store: store.add("new", KEY),
        lambda store: store.remove("old"),
    ]
    for edit in edits:
        deaf = Interrupted(
            cloud.secretsmanager,
            after={"update_secret_version_stage": refused("InvalidParameterException")},
        )
        edit(store_on(deaf, cloud))
    assert set(store.keys()) == {"new"}


def test_edits_that_break_off_leave_no_labels_behind(store: KeyStore, cloud: Cloud) -> None:
    for n in range(3):
        dying = Interrupted(cloud.secretsmanager, before={"update_secret_version_stage": time_out})
        with pytest.raises(OperatorError):
            store_on(dying, cloud).add(f"key-{n}", KEY)
    versions = cloud.secretsmanager.list_secret_version_ids(
        SecretId=cloud.resources.api_keys_secret_id, IncludeDeprecated=True
    )["Versions"]
    labels = [label for version in versions for label in version.get("VersionStages", [])]
    assert sorted(labels) == ["AWSCURRENT", "TASKCTL_EDIT"]


def test_what_is_denied_is_said_and_not_tried_for_ever(store: KeyStore, cloud: Cloud) -> None:
    denied = Interrupted(
        cloud.secretsmanager,
        before={"update_secret_version_stage": refused("AccessDeniedException")},
    )
    with pytest.raises(OperatorError, match=r"cannot be changed: No \(AccessDeniedException\)"):
        store_on(denied, cloud).add("new", KEY)


def test_an_id_in_use_is_not_overwritten(store: KeyStore) -> None:
    store.add("one", KEY)
    with pytest.raises(OperatorError, match="already is another key one"):
        store.add("one", KEY.model_copy(update={"client": "bob"}))
    assert store.keys()["one"].client == "alice"


def test_what_this_version_does_not_know_survives_an_edit(store: KeyStore, cloud: Cloud) -> None:
    entry = {"client": "bob", "sha256": "0" * 64, "scopes": [], "label": "laptop"}
    put(cloud, json.dumps({"old": entry}))
    store.add("new", KEY)
    assert json.loads(text_of(cloud))["old"] == entry


def test_keys_beyond_the_size_of_a_secret_are_refused(store: KeyStore, cloud: Cloud) -> None:
    put(cloud, json.dumps({"old": {"label": "x" * (MAX_BYTES - 100)}}))
    with pytest.raises(OperatorError, match="65,536 bytes"):
        store.add("new", KEY)
    assert "new" not in text_of(cloud)


@pytest.mark.parametrize("text", ["hunter2", '["hunter2"]', '"hunter2"'])
def test_another_secret_is_neither_shown_nor_overwritten(
    store: KeyStore, cloud: Cloud, text: str
) -> None:
    put(cloud, text)
    with pytest.raises(OperatorError) as told:
        store.add("new", KEY)
    assert "hunter2" not in str(told.value)
    assert text_of(cloud) == text


def test_an_entry_that_the_api_ignores_is_named_and_can_be_removed(
    store: KeyStore, cloud: Cloud
) -> None:
    put(cloud, json.dumps({"bad": {"client": "al ice", "sha256": "0" * 64, "scopes": []}}))
    with pytest.raises(OperatorError, match="ignores the key bad, because of its client"):
        store.keys()
    store.remove("bad")
    assert store.keys() == {}
