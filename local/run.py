"""``make run``: runs the whole system on one machine until Ctrl-C.

The embedded AWS and the samples server run in this process. The API, the worker and the reconciler
run in processes of their own, with the same code as in the cloud.
"""

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from local import aws_resources, programs
from local.activities import run_together
from local.aws_resources import Resources
from local.banner import banner
from local.embedded_aws import REGION, EmbeddedAws, isolated
from local.options import OptionsError, RunOptions, read_options, require_free_ports
from local.ports import HOST
from local.processes import keep_running, run_every
from local.readiness import wait_until_ready
from local.samples_server import SamplesServer, images_in
from local.terminal import Terminal
from services.common.api_key import ApiKey, Scope, hash_secret
from services.common.aws import Aws
from taskctl.key_store import KeyStore

KEY_ID, KEY_SECRET = "local", "dev-key"
RECONCILE_INTERVAL_S = 30
"""Shorter than in the cloud, where each run starts a container."""


def main() -> int:
    try:
        options = read_options(os.environ)
        require_free_ports(options)
    except OptionsError as error:
        print(error, file=sys.stderr)
        return 2
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # no log line per AWS request
    return asyncio.run(_run(options))


async def _run(options: RunOptions) -> int:
    """Run until a signal arrives or a program exits. Returns the exit code."""
    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signum is signal.SIGHUP and signal.getsignal(signum) is signal.SIG_IGN:
            continue  # started by nohup
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    with (
        EmbeddedAws() as aws,
        SamplesServer(options.samples, host=HOST, port=options.samples_port),
        TemporaryDirectory(prefix="taskfleet-") as scratch,
    ):
        environment = isolated(os.environ, endpoint_url=aws.endpoint_url)
        # This process must use the embedded AWS too.
        os.environ.clear()
        os.environ.update(environment)
        resources = _create_resources()
        environment |= {**resources.environment(), "TMPDIR": scratch}
        health_file = Path(scratch) / "worker-health"
        terminal = Terminal(sys.stdout, names=("api", "worker", "reconciler"))

        async def print_banner() -> None:
            await wait_until_ready(api_port=options.port, worker_health_file=health_file)
            terminal.print(
                banner(
                    port=options.port,
                    key=f"{KEY_ID}.{KEY_SECRET}",
                    image=images_in(options.samples)[0],
                    aws_endpoint_url=aws.endpoint_url,
                    resources=resources,
                )
            )

        return await run_together(
            (
                keep_running(
                    programs.api(environment, port=options.port, scratch=Path(scratch)), terminal
                ),
                keep_running(
                    programs.worker(
                        environment, samples_port=options.samples_port, health_file=health_file
                    ),
                    terminal,
                ),
                run_every(RECONCILE_INTERVAL_S, programs.reconciler(environment), terminal),
                print_banner(),
            ),
            stop=stop,
            terminal=terminal,
        )


def _create_resources() -> Resources:
    """The resources of a deployment, and an API key with a fixed secret."""
    aws = Aws(region=REGION)
    resources = aws_resources.create(
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
    sys.exit(main())
