"""``taskctl keys``: create, list and revoke API keys.

A key is shown only when it is created; the secret stores its SHA-256. A client may have several
keys: to rotate one, create another, give it to the client, and revoke the old one.
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
from taskctl.errors import OperatorError, report_aws_errors
from taskctl.key_store import KeyStore
from taskctl.new_key import NewKey, new_key
from taskctl.stack_outputs import ApiResources, find_api_resources

SAMPLE_URL = "https://www.python.org/static/img/python-logo.png"
"""A public image that is unlikely to move."""


@click.group()
def keys() -> None:
    """Create, list and revoke API keys."""


def _deployment_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that select a deployment, and call `command` with its key store."""

    @click.option("--environment", metavar="NAME", help="Name of the deployed environment.")
    @click.option(
        "--secret-id",
        metavar="ID",
        envvar="API_KEYS_SECRET_ID",
        show_envvar=True,
        help="Name or ARN of the secret with the keys, instead of --environment.",
    )
    @click.option(
        "--region",
        envvar="AWS_REGION",
        show_envvar=True,
        help="Region of the deployment. Default: the region of the AWS profile.",
    )
    @functools.wraps(command)
    def with_deployment(
        environment: str | None, secret_id: str | None, region: str | None, **options: object
    ) -> None:
        try:
            resources = _find_resources(environment, secret_id, region)
            with report_aws_errors("Cannot call Secrets Manager"):
                client = boto3.Session(region_name=region).client("secretsmanager")
            store = KeyStore(client, secret_id=resources.api_keys_secret_id)
            command(store, resources, **options)
        except OperatorError as error:
            raise click.ClickException(str(error)) from error

    return with_deployment


def _find_resources(
    environment: str | None, secret_id: str | None, region: str | None
) -> ApiResources:
    if environment is not None:
        with report_aws_errors("Cannot call CloudFormation"):
            client = boto3.Session(region_name=region).client("cloudformation")
        return find_api_resources(client, environment=environment)
    if secret_id is not None:
        return ApiResources(api_keys_secret_id=secret_id)
    raise click.UsageError("Select a deployment with --environment NAME or --secret-id ID.")


def _client_name(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not re.fullmatch(CLIENT_NAME_PATTERN, value):
        raise click.BadParameter("use 1 to 64 letters, digits, '.', '_' and '-'.")
    return value


_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@keys.command()
@click.option(
    "--client",
    metavar="NAME",
    required=True,
    callback=_client_name,
    help="The client that will use the key. All keys of a client share its tasks.",
)
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(Scope, case_sensitive=False),
    multiple=True,
    default=list(Scope),
    help="A scope of the key. Repeat the option for several. Default: all scopes.",
)
@click.option(
    "--api-url",
    metavar="URL",
    envvar="TASKFLEET_URL",
    show_envvar=True,
    help="URL of the API for the example. Default: the URL of --environment.",
)
@_as_json
@_deployment_options
def create(
    store: KeyStore,
    resources: ApiResources,
    *,
    client: str,
    scopes: Collection[Scope],
    api_url: str | None,
    as_json: bool,
) -> None:
    """Create a key and show it. It cannot be shown again."""
    key = new_key(secrets.token_bytes)
    stored = ApiKey(client=client, sha256=hash_secret(key.secret), scopes=frozenset(scopes))
    store.add(key.key_id, stored)
    if as_json:
        click.echo(json.dumps({**_as_dict(key.key_id, stored), "key": key.bearer}))
        return
    click.echo(f"Created a key for {client} with the scopes: {_scopes(stored)}.")
    click.echo("Copy it now. It cannot be shown again:\n")
    click.echo(f"  {key.bearer}\n")
    click.echo("The API accepts the key within a minute. To try it:\n")
    click.echo(f"  {_example(key, stored.scopes, api_url or resources.api_url)}")


def _example(key: NewKey, scopes: Collection[Scope], api_url: str | None) -> str:
    """A shell command that the key may run: it submits a task, or lists the operations."""
    url = api_url.rstrip("/") if api_url else '"$TASKFLEET_URL"'
    curl = f"curl -sS -H 'Authorization: Bearer {key.bearer}'"
    if Scope.SUBMIT not in scopes:
        return f"{curl} {url}/operations"
    body = json.dumps({"inputImageUrl": SAMPLE_URL})
    return f"{curl} -H 'Content-Type: application/json' -d '{body}' {url}/tasks"


@keys.command("list")
@_as_json
@_deployment_options
def list_(store: KeyStore, _resources: ApiResources, *, as_json: bool) -> None:
    """List all keys with their clients and scopes."""
    found = sorted(store.keys().items(), key=lambda item: (item[1].client, item[0]))
    if as_json:
        click.echo(json.dumps([_as_dict(key_id, key) for key_id, key in found], indent=2))
        return
    if not found:
        click.echo("There are no keys. Create one with the command `keys create`.")
        return
    table = Table(box=None, pad_edge=False)
    for title in ("Key ID", "Client", "Scopes"):
        table.add_column(title, overflow="fold")
    for key_id, key in found:
        table.add_row(key_id, key.client, _scopes(key))
    Console().print(table)


@keys.command()
@click.argument("key_id")
@_deployment_options
def revoke(store: KeyStore, _resources: ApiResources, *, key_id: str) -> None:
    """Revoke a key permanently. KEY_ID is the part of the key before the dot."""
    key_id, _, _secret = key_id.partition(".")  # so that a leaked key can be pasted whole
    store.remove(key_id)
    click.echo(f"Revoked {key_id}. The API rejects it within a minute.")


def _as_dict(key_id: str, key: ApiKey) -> dict[str, object]:
    return {"keyId": key_id, "client": key.client, "scopes": sorted(key.scopes)}


def _scopes(key: ApiKey) -> str:
    return ", ".join(sorted(key.scopes))
