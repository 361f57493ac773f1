"""``make run``: the whole system on one machine, until Ctrl-C.

An embedded AWS and the samples live in this process; the API, the worker and the reconciler are the
programs of the cloud, started with another environment.
"""

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import click

from local import programs, schema
from local.banner import banner
from local.embedded_aws import REGION, EmbeddedAws, isolated
from local.ports import HOST, why_unusable
from local.processes import keep_running, run_every
from local.readiness import wait_until_ready
from local.samples_server import CONTENT_TYPES, SamplesServer, pictures_in
from local.schema import Resources
from local.supervisor import run_together
from local.terminal import Terminal
from services.common.api_key import ApiKey, Scope, hash_secret
from services.common.aws import Aws
from taskctl.key_store import KeyStore

DEFAULT_PORT, LAST_PORT = 8_080, 65_535
KEY_ID, KEY_SECRET = "local", "dev-key"
RECONCILE_EVERY_S = 30
"""More often than in the cloud, where each run is the start of a container."""
SAMPLES = Path(__file__).parent / "samples"


@click.command()
@click.option(
    "--port",
    envvar="PORT",
    type=click.IntRange(1, LAST_PORT - 1),
    default=DEFAULT_PORT,
    help="Of the API; the samples take the next one.",
)
@click.option(
    "--samples",
    envvar="SAMPLES",
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    default=SAMPLES,
    help="A folder of pictures to serve.",
)
def main(port: int, samples: Path) -> None:
    """Run Taskfleet on this machine."""
    for needed, user in ((port, "the API"), (port + 1, "the samples")):
        reason = why_unusable(needed)
        if reason is not None:
            _refuse(
                f"Port {needed}, for {user}, cannot be used: {reason}. "
                f"Choose another, for instance: make run PORT={_free_pair()}"
            )
    if not pictures_in(samples):
        _refuse(f"The folder {samples} has no picture in it ({', '.join(CONTENT_TYPES)}).")
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # no line for each request to AWS
    sys.exit(asyncio.run(_run(port=port, samples=samples)))


def _refuse(sentence: str) -> NoReturn:
    click.echo(sentence, err=True)
    sys.exit(2)


def _free_pair() -> int:
    return next(
        port
        for port in range(DEFAULT_PORT, LAST_PORT)
        if not (why_unusable(port) or why_unusable(port + 1))
    )


async def _run(*, port: int, samples: Path) -> int:
    """Run until a signal, or until a program ends by itself; the exit code."""
    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    with (
        EmbeddedAws() as aws,
        SamplesServer(samples, host=HOST, port=port + 1),
        TemporaryDirectory(prefix="taskfleet-") as scratch,
    ):
        environment = isolated(os.environ, endpoint_url=aws.endpoint_url)
        # From here on this process, too, knows no other AWS.
        os.environ.clear()
        os.environ.update(environment)
        resources = _create_resources()
        environment |= {**resources.environment(), "TMPDIR": scratch}
        health_file = Path(scratch) / "worker-health"
        terminal = Terminal(sys.stdout, names=("api", "worker", "reconciler"))

        async def greet() -> None:
            await wait_until_ready(api_port=port, worker_health_file=health_file)
            terminal.say(
                banner(
                    port=port,
                    key=f"{KEY_ID}.{KEY_SECRET}",
                    picture=pictures_in(samples)[0],
                    aws_endpoint_url=aws.endpoint_url,
                    resources=resources,
                )
            )

        return await run_together(
            (
                keep_running(programs.api(environment, port=port, scratch=Path(scratch)), terminal),
                keep_running(
                    programs.worker(environment, samples_port=port + 1, health_file=health_file),
                    terminal,
                ),
                run_every(RECONCILE_EVERY_S, programs.reconciler(environment), terminal),
                greet(),
            ),
            stop=stop,
            terminal=terminal,
        )


def _create_resources() -> Resources:
    """The cloud's resources, and a key that everyone knows."""
    aws = Aws(region=REGION)
    resources = schema.create(
        dynamodb=aws.dynamodb(),
        sqs=aws.sqs(),
        s3=aws.s3(),
        secretsmanager=aws.secretsmanager(),
    )
    store = KeyStore(aws.secretsmanager(), secret_id=resources.api_keys_secret_id)
    key = ApiKey(client="local", sha256=hash_secret(KEY_SECRET), scopes=frozenset(Scope))
    store.add(KEY_ID, key)
    return resources


if __name__ == "__main__":
    main()
