"""Runs a supervisor with fake consumers: ``python -m tests.worker.supervised folder 2 poll``.

The arguments are a folder, the number of consumers and their behavior. The health file is
``health`` in the folder.
"""

import sys
from pathlib import Path

from services.worker.health import HealthFile
from services.worker.stop_signal import StopSignal
from services.worker.supervisor import Supervisor

FAKE_CONSUMER = Path(__file__).with_name("fake_consumer.py")


def main(folder: Path, consumers: int, behavior: str) -> int:
    stop = StopSignal()
    scratch = folder / "scratch"
    scratch.mkdir()
    return Supervisor(
        (sys.executable, str(FAKE_CONSUMER), behavior, str(folder)),
        consumers=consumers,
        health=HealthFile(folder / "health", max_age_s=60),
        scratch=scratch,
        stop=stop,
    ).run()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
