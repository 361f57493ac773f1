"""The programs that process the same tasks."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.stub_aws.client import StubAws
from local import programs
from local.processes import Program

PEERS_PYTHON = Path(".local/peers/bin/python")
CORES = os.cpu_count() or 1

CELERY_PROCESSES, CELERY_THREADS = 8, 32
"""More than its default of one process per core, which would wait for AWS most of the time."""
FLOOR_THREADS = 40
RECEIVE_WAIT_S = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """`program` consumes the queue of a stub of AWS, with a folder for its files.

    `enqueue` sends the messages of the first tasks. `pinned` is whether it runs on the first core
    only.
    """

    name: str
    program: Callable[[StubAws, Path], Program]
    enqueue: Callable[[StubAws, int], None]
    pinned: bool = False


def _send(aws: StubAws, count: int) -> None:
    aws.send(first=0, count=count)


def _worker(aws: StubAws, scratch: Path, *, vcpus: int = CORES) -> Program:
    environment = {
        **aws.environment(os.environ),
        "LOG_FORMAT": "json",
        "RECEIVE_WAIT_S": str(RECEIVE_WAIT_S),
        "WORKER_VCPUS": str(vcpus),
    }
    return programs.worker(
        environment, samples_port=aws.port, health_file=scratch / f"health-{aws.port}"
    )


def _on_first_core(program: Program) -> Program:
    return Program(program.name, ("taskset", "-c", "0", *program.command), program.environment)


def _floor(name: str, *, processes: int, threads: int) -> Contestant:
    command = (sys.executable, "-m", "bench.floor.task_loop", str(processes), str(threads))
    return Contestant(
        name=name,
        program=lambda aws, _: Program(name, command, aws.environment(os.environ)),
        enqueue=_send,
    )


def _peer(name: str, app: str, command: Sequence[str]) -> Contestant:
    def environment(aws: StubAws) -> Mapping[str, str]:
        # Otherwise a peer would import the packages of this program.
        kept = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
        return aws.environment(kept)

    def enqueue(aws: StubAws, count: int) -> None:
        subprocess.run(  # noqa: S603 - our own program
            (PEERS_PYTHON, "-m", "bench.peers.enqueue", app, str(count)),
            env=dict(environment(aws)),
            check=True,
        )

    return Contestant(
        name=name,
        program=lambda aws, _: Program(name, (str(PEERS_PYTHON), "-m", *command), environment(aws)),
        enqueue=enqueue,
    )


def _celery(name: str, pool: str, concurrency: int) -> Contestant:
    options = (
        *(f"--pool={pool}", f"--concurrency={concurrency}"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    )
    return _peer(name, "celery", ("celery", "-A", "bench.peers.celery_app", "worker", *options))


TASKFLEET = Contestant(name="Taskfleet", program=_worker, enqueue=_send)
TASKFLEET_ON_ONE_CORE = Contestant(
    name="Taskfleet, one core",
    program=lambda aws, scratch: _on_first_core(_worker(aws, scratch, vcpus=1)),
    enqueue=_send,
    pinned=True,
)
CELERY_PREFORK = _celery("Celery, prefork", "prefork", CELERY_PROCESSES)
CELERY_IN_THREADS = _celery("Celery, threads", "threads", CELERY_THREADS)
DRAMATIQ = _peer("Dramatiq", "dramatiq", ("dramatiq", "bench.peers.dramatiq_app"))
FLOOR = _floor("floor", processes=1, threads=1)
FLOOR_IN_THREADS = _floor("floor, threads", processes=CORES, threads=FLOOR_THREADS)
PEERS = (CELERY_PREFORK, CELERY_IN_THREADS, DRAMATIQ)
