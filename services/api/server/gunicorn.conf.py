"""gunicorn's settings: ``gunicorn --config services/api/server/gunicorn.conf.py``."""
# ruff: noqa: N999 - the name that gunicorn gives this file

import logging
from typing import cast

from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger

from services.api.server import cpu_affinity
from services.api.server.gunicorn_worker import WAITING_PER_THREAD, ApiWorker
from services.common import telemetry
from services.common.config import ApiConfig

_config = ApiConfig()

telemetry.configure(
    service="api", environment=_config.taskfleet_environment, log_format=_config.log_format
)


class StructuredLogger(Logger):
    """Sends gunicorn's own messages to the handler of all other logs."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        self.error_log.setLevel(logging.INFO)


class ConfiguredWorker(ApiWorker):
    transfer_timeout_s = _config.api_transfer_timeout_s
    request_timeout_s = _config.api_request_timeout_s
    core: int | None = None


def pre_fork(arbiter: Arbiter, worker: ConfiguredWorker) -> None:
    in_use = [cast("ConfiguredWorker", other).core for other in arbiter.WORKERS.values()]
    worker.core = cpu_affinity.choose_core(cpu_affinity.available_cores(), in_use=in_use)


def post_fork(_arbiter: Arbiter, worker: ConfiguredWorker) -> None:
    cpu_affinity.pin_process(worker.core)


wsgi_app = "services.api.wsgi:create_wsgi_app()"
bind = f"{_config.api_host}:{_config.api_port}"
worker_class = ConfiguredWorker
workers = _config.api_processes
threads = _config.api_threads
worker_connections = 1_000 + (1 + WAITING_PER_THREAD) * threads
"""Connections of a process: 1,000 idle ones, and all that have or await a thread. At this number
it accepts no more, not even health checks."""
logger_class = StructuredLogger

keepalive = 75
"""Seconds that an idle connection stays open. Must exceed the load balancer's idle timeout of 60 s:
otherwise the balancer sends requests on connections that are just closing, and returns 502."""
graceful_timeout = _config.api_stop_timeout_s
timeout = 60
"""Seconds without a heartbeat of its main loop after which gunicorn replaces a process."""
worker_tmp_dir = "/dev/shm"  # noqa: S108 - gunicorn creates its file safely
"""Folder of the heartbeat files. It is in memory, where a slow disk cannot delay a heartbeat."""
control_socket_disable = True

limit_request_line = 4_094
limit_request_fields = 64
limit_request_field_size = 8_190
