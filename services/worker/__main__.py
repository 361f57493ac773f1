"""The commands of the worker image: ``python -m services.worker run | reconcile``."""

import argparse
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from services.common.config import ReconcilerConfig, WorkerConfig
from services.worker.commands.run import run


def main(arguments: Sequence[str]) -> int:
    """Return the exit code, which is 2 if the command or the environment is invalid."""
    parser = argparse.ArgumentParser(prog="python -m services.worker")
    parser.add_argument("command", choices=["run", "reconcile"])
    command = parser.parse_args(arguments).command
    try:
        match command:
            case "reconcile":
                # Loads boto3, which the supervisor does not need.
                from services.worker.commands.reconcile import reconcile  # noqa: PLC0415

                return reconcile(ReconcilerConfig())
            case _:
                return run(WorkerConfig())
    except ValidationError as invalid:
        for error in invalid.errors():
            name = "_".join(str(part) for part in error["loc"][:1]).upper() or "environment"
            print(f"{name}: {error['msg']}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
