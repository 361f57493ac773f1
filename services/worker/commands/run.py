"""The ``run`` command: a supervisor and its consumer processes."""

import sys
import tempfile
from pathlib import Path

from services.common import telemetry
from services.common.config import WorkerConfig
from services.worker.health import HealthFile, max_healthy_age_s
from services.worker.stop_signal import StopSignal
from services.worker.supervisor import Supervisor

CONSUME = (sys.executable, "-m", "services.worker.commands.consume")


def run(config: WorkerConfig) -> int:
    """Work until SIGTERM or SIGINT. Return 0 after all tasks have finished or been released."""
    stop = StopSignal()  # first, because PID 1 of a container ignores signals without a handler
    telemetry.configure(
        service="worker",
        environment=config.taskfleet_environment,
        log_format=config.log_format,
    )
    with tempfile.TemporaryDirectory(prefix="taskfleet-") as scratch:
        supervisor = Supervisor(
            CONSUME,
            consumers=config.consumers,
            health=HealthFile(
                Path(config.health_file), max_age_s=max_healthy_age_s(config.receive_wait_s)
            ),
            scratch=Path(scratch),
            stop=stop,
        )
        return supervisor.run()
