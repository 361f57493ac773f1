"""gunicorn's settings: ``gunicorn -c services/api/server/gunicorn.conf.py``."""
# ruff: noqa: N999 - gunicorn's own name for this file

import logging
from typing import cast

from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger

from services.api.server import cpu_affinity
from services.api.server.gunicorn_worker import ApiWorker
from services.common import telemetry
from services.common.config import ApiConfig

_config = ApiConfig()

telemetry.configure(
    service="api", environment=_config.taskfleet_environment, log_format=_config.log_format
)


class StructuredLogger(Logger):
    """gunicorn's own messages through the handler that all other logs go through."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        self.error_log.setLevel(logging.INFO)


class Worker(ApiWorker):
    transfer_timeout_s = _config.api_transfer_timeout_s
    core: int | None = None


def pre_fork(arbiter: Arbiter, worker: Worker) -> None:
    taken = [cast("Worker", other).core for other in arbiter.WORKERS.values()]
    worker.core = cpu_affinity.choose(cpu_affinity.usable(), taken=taken)


def post_fork(_arbiter: Arbiter, worker: Worker) -> None:
    cpu_affinity.keep_to(worker.core)


wsgi_app = "services.api.wsgi:create_wsgi_app()"
bind = f"{_config.api_host}:{_config.api_port}"
worker_class = Worker
workers = _config.api_processes
threads = _config.api_threads
logger_class = StructuredLogger

keepalive = 75
"""Longer than the load balancer's idle timeout of 60 s, or it reuses what was just closed: 502."""
graceful_timeout = _config.api_stop_timeout_s
timeout = 60
"""A process whose main loop stands still for so long is replaced."""
worker_tmp_dir = "/dev/shm"  # noqa: S108 - gunicorn makes a file of its own in it
"""The heartbeat file: in memory, where a slow disk cannot make a process look dead."""
control_socket_disable = True

limit_request_line = 4_094
limit_request_fields = 64
limit_request_field_size = 8_190
