"""The API keys in memory: reading, refresh and expiry."""

import json
import threading
from dataclasses import dataclass, field

import pytest
import structlog

from services.api.key_ring import ApiKeysSecret, KeyRefresher, KeyRing
from services.common.api_key import Scope
from services.common.errors import SecretUnavailable
from tests.api.conftest import KEYS, key_entry
from tests.clocks import MonotonicClock
from tests.conftest import Cloud


@dataclass
class KeysSecret:
    """Returns its text. Unavailable if that is None."""

    text: str | None = field(default_factory=lambda: json.dumps(KEYS))

    def read(self) -> str:
        if self.text is None:
            raise SecretUnavailable("GetSecretValue: InternalServiceError")
        return self.text


def key_ring(secret: KeysSecret, clock: MonotonicClock) -> KeyRing:
    return KeyRing(read=secret.read, max_age_s=900, monotonic=clock)


def test_keys_stay_valid_during_a_short_secrets_manager_outage() -> None:
    secret, clock = KeysSecret(), MonotonicClock()
    keys = key_ring(secret, clock)
    keys.refresh()
    secret.text = None
    clock.advance(900)

    with pytest.raises(SecretUnavailable):
        keys.refresh()
    assert keys.find("alice-1") is not None


def test_keys_expire_when_they_cannot_be_refreshed() -> None:
    secret, clock = KeysSecret(), MonotonicClock()
    keys = key_ring(secret, clock)
    keys.refresh()
    clock.advance(900.1)

    with pytest.raises(SecretUnavailable):
        keys.find("alice-1")


def test_keys_are_valid_again_once_secrets_manager_recovers() -> None:
    secret, clock = KeysSecret(), MonotonicClock()
    keys = key_ring(secret, clock)
    keys.refresh()
    clock.advance(5_000)
    keys.refresh()

    assert keys.find("alice-1") is not None


def test_an_invalid_entry_does_not_affect_the_others() -> None:
    invalid = {
        "unknown-scope": {**KEYS["bob-1"], "scopes": ["everything"]},
        "no-hash": {"client": "bob", "scopes": ["read"]},
        "invalid-client": key_entry("bob#1", secret="s", scopes={Scope.READ}),
        "not-an-object": "bob",
    }
    keys = key_ring(KeysSecret(json.dumps({**invalid, **KEYS})), MonotonicClock())
    with structlog.testing.capture_logs() as entries:
        keys.refresh()

    assert [keys.find(key_id) for key_id in invalid] == [None] * 4
    assert keys.find("alice-1") is not None
    assert {entry["key_id"] for entry in entries} == invalid.keys()


def test_extra_members_of_an_entry_are_ignored() -> None:
    extended = {"bob-1": {**KEYS["bob-1"], "createdAt": "2026-01-01", "label": "laptop"}}
    keys = key_ring(KeysSecret(json.dumps(extended)), MonotonicClock())
    keys.refresh()

    assert keys.find("bob-1") is not None


@pytest.mark.parametrize("text", ["", "a password, not JSON", "[]", '"text"'])
def test_a_malformed_secret_keeps_the_old_keys_and_is_not_quoted(text: str) -> None:
    secret = KeysSecret()
    keys = key_ring(secret, MonotonicClock())
    keys.refresh()
    secret.text = text

    with pytest.raises(SecretUnavailable) as refused:
        keys.refresh()
    assert keys.find("alice-1") is not None
    assert not text or text not in str(refused.value)


def test_the_keys_are_read_from_secrets_manager(cloud: Cloud) -> None:
    secret_id = cloud.resources.api_keys_secret_id
    cloud.secretsmanager.put_secret_value(SecretId=secret_id, SecretString=json.dumps(KEYS))

    assert json.loads(ApiKeysSecret(cloud.secretsmanager, secret_id=secret_id).read()) == KEYS


def test_a_missing_secret_is_unavailable(cloud: Cloud) -> None:
    with pytest.raises(SecretUnavailable):
        ApiKeysSecret(cloud.secretsmanager, secret_id="another").read()


def test_the_refresher_reads_at_start_and_then_periodically() -> None:
    reads = threading.Semaphore(0)

    def read() -> str:
        reads.release()
        return json.dumps(KEYS)

    keys = KeyRing(read=read, max_age_s=900)
    refresher = KeyRefresher(keys, interval_s=0.01)
    refresher.start()
    assert keys.find("alice-1") is not None
    for _ in range(3):
        assert reads.acquire(timeout=10)
    refresher.stop()


def test_the_refresher_continues_after_any_failure() -> None:
    recovered = threading.Event()
    failures = iter([SecretUnavailable("down"), KeyError("SecretString")])

    def read() -> str:
        for failure in failures:
            raise failure
        recovered.set()
        return json.dumps(KEYS)

    keys = KeyRing(read=read, max_age_s=900)
    refresher = KeyRefresher(keys, interval_s=0.01)
    refresher.start()
    assert recovered.wait(timeout=10)
    refresher.stop()
    assert keys.find("alice-1") is not None
