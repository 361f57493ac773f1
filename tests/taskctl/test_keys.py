"""``taskctl keys``: output, exit codes and stored keys."""

import json
import shlex
from collections.abc import Callable

import boto3
import pytest
from click.testing import CliRunner, Result

from services.common.api_key import ApiKey, Scope, parse_token
from taskctl.cli import cli
from taskctl.key_store import KeyStore
from tests.conftest import Cloud

Taskctl = Callable[..., Result]


@pytest.fixture
def taskctl(cloud: Cloud) -> Taskctl:
    def run(*arguments: str, secret_id: str | None = cloud.resources.api_keys_secret_id) -> Result:
        environment = {"AWS_REGION": "us-east-1", "API_KEYS_SECRET_ID": secret_id}
        return CliRunner().invoke(cli, ["keys", *arguments], env=environment)

    return run


def stored(cloud: Cloud, *, secret_id: str | None = None) -> dict[str, ApiKey]:
    secret_id = secret_id or cloud.resources.api_keys_secret_id
    return dict(KeyStore(cloud.secretsmanager, secret_id=secret_id).keys())


def example(output: str) -> list[str]:
    """The words of the printed curl command."""
    (line,) = [line for line in output.splitlines() if line.strip().startswith("curl")]
    return shlex.split(line)


def test_the_stored_hash_matches_the_created_key(taskctl: Taskctl, cloud: Cloud) -> None:
    created = json.loads(taskctl("create", "--client", "alice", "--json").stdout)
    presented = parse_token(created["key"])
    assert presented is not None
    key_id, secret = presented
    key = stored(cloud)[key_id]
    assert key.matches(secret)
    assert not key.matches(secret[:-1])
    assert (key.client, key.scopes) == ("alice", frozenset(Scope))


def test_every_key_is_different(taskctl: Taskctl, cloud: Cloud) -> None:
    keys = {json.loads(taskctl("create", "--client", "a", "--json").stdout)["key"] for _ in "123"}
    assert len(keys) == 3
    assert len(stored(cloud)) == 3
    assert all(len(key.partition(".")[2]) == 43 for key in keys)  # 256 bits, base64


def test_a_key_has_only_the_requested_scopes(taskctl: Taskctl, cloud: Cloud) -> None:
    taskctl("create", "--client", "alice", "--scope", "read", "--scope", "submit")
    (key,) = stored(cloud).values()
    assert key.scopes == {Scope.READ, Scope.SUBMIT}


def test_the_example_contains_the_key_and_the_url(taskctl: Taskctl) -> None:
    output = taskctl("create", "--client", "alice", "--api-url", "http://127.0.0.1:8080/").stdout
    (key,) = [line.strip() for line in output.splitlines() if parse_token(line.strip())]
    words = example(output)
    assert f"Authorization: Bearer {key}" in words
    assert words[-1] == "http://127.0.0.1:8080/tasks"
    assert json.loads(words[words.index("-d") + 1]).keys() == {"inputImageUrl"}


@pytest.mark.parametrize("name", ["", "al ice", "a#1", "a\n", "ä", "x" * 65])
def test_an_invalid_client_name_creates_no_key(taskctl: Taskctl, cloud: Cloud, name: str) -> None:
    result = taskctl("create", "--client", name)
    assert result.exit_code == 2
    assert "--client" in result.stderr
    assert stored(cloud) == {}


def test_list_shows_clients_and_scopes_but_no_hashes(taskctl: Taskctl, cloud: Cloud) -> None:
    long_name = "b" * 64
    for client in (long_name, "alice", "alice"):
        taskctl("create", "--client", client, "--scope", "read")
    listed = json.loads(taskctl("list", "--json").stdout)
    assert [(key["client"], key["scopes"]) for key in listed] == [
        ("alice", ["read"]),
        ("alice", ["read"]),
        (long_name, ["read"]),
    ]
    table = taskctl("list").stdout
    for key_id, key in stored(cloud).items():
        assert key_id in table
        assert key.sha256 not in table
    assert table.count("b") >= 64  # wrapped, not truncated


def test_an_empty_list_names_the_command_that_creates_a_key(taskctl: Taskctl) -> None:
    assert "keys create" in taskctl("list").stdout


def test_revoke_removes_only_the_named_key(taskctl: Taskctl, cloud: Cloud) -> None:
    old, new = (json.loads(taskctl("create", "--client", "a", "--json").stdout) for _ in "12")
    assert taskctl("revoke", old["keyId"]).exit_code == 0
    assert set(stored(cloud)) == {new["keyId"]}


def test_revoke_accepts_a_whole_key_and_does_not_print_its_secret(
    taskctl: Taskctl, cloud: Cloud
) -> None:
    created = json.loads(taskctl("create", "--client", "a", "--json").stdout)
    result = taskctl("revoke", created["key"])
    assert stored(cloud) == {}
    again = taskctl("revoke", created["key"])
    assert again.exit_code == 1
    _, _, secret = created["key"].partition(".")
    assert secret not in result.output + again.output


def test_a_missing_key_or_secret_is_reported_in_one_line(taskctl: Taskctl) -> None:
    for result in (taskctl("revoke", "unknown"), taskctl("list", secret_id="elsewhere")):
        assert result.exit_code == 1
        assert result.stdout == ""
        assert result.stderr.startswith("Error: ")
        assert len(result.stderr.splitlines()) == 1


def test_a_missing_deployment_option_is_a_usage_error(taskctl: Taskctl) -> None:
    result = taskctl("list", secret_id=None)
    assert result.exit_code == 2
    assert "--environment" in result.stderr


def test_the_environment_option_finds_the_deployment(taskctl: Taskctl, cloud: Cloud) -> None:
    cloud.secretsmanager.create_secret(Name="staging-keys", SecretString="{}")
    deploy(cloud, "taskfleet-staging-state", {"ApiKeysSecretId": "staging-keys"})
    deploy(cloud, "taskfleet-staging-api", {"Url": "https://tasks.example.org"})
    result = taskctl("create", "--client", "alice", "--environment", "staging")
    assert example(result.stdout)[-1] == "https://tasks.example.org/tasks"
    assert len(stored(cloud, secret_id="staging-keys")) == 1
    assert stored(cloud) == {}


def test_an_environment_that_is_not_deployed_is_reported_in_one_line(
    taskctl: Taskctl, cloud: Cloud
) -> None:
    deploy(cloud, "taskfleet-half-state", {"Other": "x"})
    for environment in ("none", "half"):
        result = taskctl("list", "--environment", environment)
        assert result.exit_code == 1
        assert f"taskfleet-{environment}-state" in result.stderr
        assert len(result.stderr.splitlines()) == 1


def deploy(cloud: Cloud, stack: str, outputs: dict[str, str]) -> None:
    template = {
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
        "Outputs": {name: {"Value": value} for name, value in outputs.items()},
    }
    client = boto3.client("cloudformation", region_name=cloud.secretsmanager.meta.region_name)
    client.create_stack(StackName=stack, TemplateBody=json.dumps(template))
