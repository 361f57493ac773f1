import pytest

from services.common.api_key import UNKNOWN_KEY, ApiKey, Scope, hash_secret


class Comparable(str):
    """A text that ``==``, which takes longer the more characters agree, cannot compare."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, _: object) -> bool:
        raise AssertionError("compared with == or !=")

    def __ne__(self, _: object) -> bool:
        raise AssertionError("compared with == or !=")


def key_of(digest: str) -> ApiKey:
    return ApiKey.model_construct(client="alice", sha256=digest, scopes=frozenset(Scope))


@pytest.mark.parametrize(("secret", "matches"), [("right", True), ("wrong", False), ("", False)])
def test_a_secret_is_compared_in_constant_time(secret: str, matches: bool) -> None:  # noqa: FBT001
    assert key_of(Comparable(hash_secret("right"))).matches(secret) is matches


@pytest.mark.parametrize("secret", ["", "0", "0" * 64])
def test_no_secret_matches_the_unknown_key(secret: str) -> None:
    assert not UNKNOWN_KEY.matches(secret)
