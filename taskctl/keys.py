"""``taskctl keys``: who may use the API.

A key is shown once, when it is created; only its SHA-256 is kept. A client may have several keys,
so one is rotated by creating the next, handing it over and revoking the old one.
"""

import functools
import json
import re
import secrets
from collections.abc import Callable, Collection

import boto3
import click
from rich.console import Console
from rich.table import Table

from services.common.api_key import CLIENT_NAME_PATTERN, ApiKey, Scope, hash_secret
from taskctl.deployment import Deployment, find_deployment
from taskctl.errors import OperatorError, explained
from taskctl.key_store import KeyStore
from taskctl.new_key import NewKey, new_key

SAMPLE_URL = "https://www.python.org/static/img/python-logo.png"
"""Any image that is there to stay."""


@click.group()
def keys() -> None:
    """Create, list and revoke API keys."""


def _of_a_deployment(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command` the options that say which deployment is meant, and its key store."""

    @click.option("--environment", metavar="NAME", help="The environment that was deployed.")
    @click.option(
        "--secret-id",
        metavar="ID",
        envvar="API_KEYS_SECRET_ID",
        show_envvar=True,
        help="Instead of --environment: name or ARN of the secret with the keys.",
    )
    @click.option(
        "--region",
        envvar="AWS_REGION",
        show_envvar=True,
        help="Where it is deployed; without it the profile's.",
    )
    @functools.wraps(command)
    def with_deployment(
        environment: str | None, secret_id: str | None, region: str | None, **options: object
    ) -> None:
        try:
            deployment = _deployment(environment, secret_id, region)
            with explained("Secrets Manager cannot be asked"):
                client = boto3.Session(region_name=region).client("secretsmanager")
            store = KeyStore(client, secret_id=deployment.api_keys_secret_id)
            command(store, deployment, **options)
        except OperatorError as error:
            raise click.ClickException(str(error)) from error

    return with_deployment


def _deployment(environment: str | None, secret_id: str | None, region: str | None) -> Deployment:
    if environment is not None:
        with explained("CloudFormation cannot be asked"):
            client = boto3.Session(region_name=region).client("cloudformation")
        return find_deployment(client, environment=environment)
    if secret_id is not None:
        return Deployment(api_keys_secret_id=secret_id)
    raise click.UsageError("Say which deployment: --environment NAME, or --secret-id ID.")


def _client_name(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not re.fullmatch(CLIENT_NAME_PATTERN, value):
        raise click.BadParameter("it may have 1 to 64 letters, digits, '.', '_' and '-'.")
    return value


_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@keys.command()
@click.option(
    "--client",
    metavar="NAME",
    required=True,
    callback=_client_name,
    help="Who the key is for. Tasks belong to this name, whichever of its keys is used.",
)
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(Scope, case_sensitive=False),
    multiple=True,
    default=list(Scope),
    help="What the key allows; may be repeated. Without it: everything.",
)
@click.option(
    "--api-url",
    metavar="URL",
    envvar="TASKFLEET_URL",
    show_envvar=True,
    help="Where the API answers, for the example; known with --environment.",
)
@_as_json
@_of_a_deployment
def create(
    store: KeyStore,
    deployment: Deployment,
    *,
    client: str,
    scopes: Collection[Scope],
    api_url: str | None,
    as_json: bool,
) -> None:
    """Create a key and show it, this once."""
    key = new_key(secrets.token_bytes)
    kept = ApiKey(client=client, sha256=hash_secret(key.secret), scopes=frozenset(scopes))
    store.add(key.key_id, kept)
    if as_json:
        click.echo(json.dumps({**_shown(key.key_id, kept), "key": key.bearer}))
        return
    click.echo(f"A key of {client} for {_listed(kept)}. It is shown only now:\n")
    click.echo(f"  {key.bearer}\n")
    click.echo("The API knows it within a minute. To try it:\n")
    click.echo(f"  {_example(key, kept, api_url or deployment.api_url)}")


def _example(key: NewKey, kept: ApiKey, api_url: str | None) -> str:
    """A line for the shell; without an address it takes that of the environment."""
    tasks = f"{api_url.rstrip('/')}/tasks" if api_url else '"$TASKFLEET_URL"/tasks'
    curl = f"curl -sS -H 'Authorization: Bearer {key.bearer}'"
    if Scope.SUBMIT not in kept.scopes:
        return f"{curl} {tasks}"
    body = json.dumps({"inputImageUrl": SAMPLE_URL})
    return f"{curl} -H 'Content-Type: application/json' -d '{body}' {tasks}"


@keys.command("list")
@_as_json
@_of_a_deployment
def list_(store: KeyStore, _deployment: Deployment, *, as_json: bool) -> None:
    """List all keys: whose they are and what they allow."""
    found = sorted(store.keys().items(), key=lambda item: (item[1].client, item[0]))
    if as_json:
        click.echo(json.dumps([_shown(key_id, key) for key_id, key in found], indent=2))
        return
    if not found:
        click.echo("There are no keys yet. Create one with: keys create --client NAME")
        return
    table = Table(box=None, pad_edge=False)
    for title in ("Key id", "Client", "Scopes"):
        table.add_column(title, overflow="fold")
    for key_id, key in found:
        table.add_row(key_id, key.client, _listed(key))
    Console().print(table)


@keys.command()
@click.argument("key_id")
@_of_a_deployment
def revoke(store: KeyStore, _deployment: Deployment, *, key_id: str) -> None:
    """Revoke a key for good. KEY_ID is its part before the dot."""
    key_id, _, _secret = key_id.partition(".")  # who revokes a leaked key has all of it at hand
    store.remove(key_id)
    click.echo(f"Revoked {key_id}; the API refuses it within a minute.")


def _shown(key_id: str, key: ApiKey) -> dict[str, object]:
    return {"keyId": key_id, "client": key.client, "scopes": sorted(key.scopes)}


def _listed(key: ApiKey) -> str:
    return ", ".join(sorted(key.scopes))
