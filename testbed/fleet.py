"""Creates the resources of one deployment on an AWS on loopback, and runs its processes."""

import os
import secrets
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from local import aws_resources, programs
from local.aws_resources import Resources
from local.ports import HOST, free_port
from local.processes import Program
from services.common.api_key import ApiKey, Scope, hash_secret
from taskctl.key_store import KeyStore
from taskfleet.api_client import ApiClient
from testbed.endpoints import Endpoints, LoopbackClients
from testbed.process import Process
from testbed.waiting import wait_until

KEY_ID = "fleet"
CONSUMER_MODULE = "services.worker.commands.consume"


@dataclass(frozen=True, slots=True)
class ProvisionedResources:
    """The resources of a deployment, and the secret of an API key with every scope."""

    resources: Resources
    key_secret: str

    @property
    def api_key(self) -> str:
        return f"{KEY_ID}.{self.key_secret}"


def provision(clients: LoopbackClients, *, prefix: str, lease_s: int) -> ProvisionedResources:
    """Create the resources. Names start with `prefix`; `lease_s` is the visibility timeout."""
    resources = aws_resources.create(
        dynamodb=clients.dynamodb,
        sqs=clients.sqs,
        s3=clients.s3,
        secretsmanager=clients.secretsmanager,
        prefix=prefix,
    )
    clients.sqs.set_queue_attributes(
        QueueUrl=resources.task_queue_url, Attributes={"VisibilityTimeout": str(lease_s)}
    )
    secret = secrets.token_urlsafe(32)
    key = ApiKey(client=KEY_ID, sha256=hash_secret(secret), scopes=frozenset(Scope))
    KeyStore(clients.secretsmanager, secret_id=resources.api_keys_secret_id).add(KEY_ID, key)
    return ProvisionedResources(resources, secret)


class WorkerProcess(Process):
    def __init__(self, program: Program, *, log: Path, health_file: Path) -> None:
        super().__init__(program, log=log)
        self.health_file = health_file
        self._environment = program.environment

    def consumers(self) -> Sequence[psutil.Process]:
        """The consumer processes."""
        return [
            child
            for child in psutil.Process(self.pid).children()
            if CONSUMER_MODULE in child.cmdline()
        ]

    def is_polling(self) -> bool:
        return self.is_running() and self.health_file.exists()

    def wait_until_polling(self) -> None:
        wait_until(self.is_polling, f"{self.log.stem} polls")

    def is_healthy(self) -> bool:
        """Run the container's health check in the worker's environment."""
        check = subprocess.run(  # noqa: S603 - our own program
            programs.HEALTH_CHECK, env=dict(self._environment), capture_output=True, check=False
        )
        return check.returncode == 0


class Fleet:
    """Starts processes of one deployment. Leaving its ``with`` kills those that still run.

    `settings` are environment variables of all processes. Each process writes a log in `folder`:
    ``api-1.log``, ``worker-1.log``, ``reconciler-1.log`` and so on.
    """

    def __init__(
        self,
        provisioned: ProvisionedResources,
        endpoints: Endpoints,
        *,
        settings: Mapping[str, str],
        source_port: int,
        folder: Path,
    ) -> None:
        self.provisioned = provisioned
        self.folder = folder
        self.api_port = free_port()
        self._endpoints = endpoints
        self._settings = settings
        self._source_port = source_port
        self._stack = ExitStack()
        self._start_counts = {"api": 0, "worker": 0, "reconciler": 0}
        self._workers: list[WorkerProcess] = []
        self._api: Process | None = None

    def __enter__(self) -> Self:
        self._stack.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def client(self, *, connections: int = 10) -> ApiClient:
        url = f"http://{HOST}:{self.api_port}"
        return ApiClient(url, key=self.provisioned.api_key, connections=connections)

    def start_api(self, *, endpoints: Endpoints | None = None, **settings: str) -> Process:
        """Kill the running API and start another on the same port. Does not wait for it."""
        if self._api is not None:
            self._api.kill()
        environment = self._environment(endpoints, settings)
        program = programs.api(environment, port=self.api_port, scratch=self.folder)
        self._api = self._stack.enter_context(Process(program, log=self._log("api")))
        return self._api

    def start_worker(self, *, endpoints: Endpoints | None = None, **settings: str) -> WorkerProcess:
        """Start another worker. Does not wait for it."""
        environment = self._environment(endpoints, settings)
        log = self._log("worker")
        health_file = log.with_suffix(".health")
        program = programs.worker(
            environment, samples_port=self._source_port, health_file=health_file
        )
        worker = self._stack.enter_context(WorkerProcess(program, log=log, health_file=health_file))
        self._workers.append(worker)
        return worker

    def kill_workers(self) -> None:
        for worker in self._workers:
            worker.kill()

    def start_reconciler(self, *, endpoints: Endpoints | None = None, **settings: str) -> Process:
        """Start one run of the reconciler. Does not wait for it."""
        program = programs.reconciler(self._environment(endpoints, settings))
        return self._stack.enter_context(Process(program, log=self._log("reconciler")))

    def wait_until_ready(self) -> None:
        """Wait until the API is ready."""
        wait_until(self.client().is_ready, "the API is ready")

    def _environment(
        self, endpoints: Endpoints | None, settings: Mapping[str, str]
    ) -> dict[str, str]:
        return {
            **(endpoints or self._endpoints).environment(os.environ),
            **self.provisioned.resources.environment(),
            "LOG_FORMAT": "json",
            "TMPDIR": str(self.folder),
            **self._settings,
            **settings,
        }

    def _log(self, name: str) -> Path:
        self._start_counts[name] += 1
        return self.folder / f"{name}-{self._start_counts[name]}.log"
