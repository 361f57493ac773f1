"""``make rehearse``: deploys to an emulated AWS and tests the deployment as a client.

The exit code is 0 if every check passes and 1 if any fails. The last line of output is JSON.
"""

import asyncio
import logging
import signal
import sys
import traceback
import warnings

from rehearsal.failure import RehearsalFailed
from rehearsal.options import RehearsalOptions, read_options
from rehearsal.rehearsal import failures, rehearse
from rehearsal.report import RehearsalReport


def main() -> int:
    options = read_options(sys.argv[1:])
    for verbose_logger in ("werkzeug", "moto"):
        logging.getLogger(verbose_logger).setLevel(logging.ERROR)
    # moto warns about every resource type that it skips; the report lists them instead.
    warnings.filterwarnings("ignore", module="moto")
    report = RehearsalReport(sys.stdout, title=f"Rehearsal of profile {options.profile}.")
    try:
        asyncio.run(_rehearse_until_stopped(options, report))
    except asyncio.CancelledError:
        report.add_failure(RehearsalFailed("The rehearsal was stopped before it finished."))
    except Exception as error:  # noqa: BLE001 - outermost: the line of JSON is printed in any case
        for failure in failures(error):
            report.add_failure(failure)
        if not report.problems:
            traceback.print_exception(error, file=sys.stdout)
            report.add_failure(RehearsalFailed("The rehearsal itself crashed."))
    return report.finish()


async def _rehearse_until_stopped(options: RehearsalOptions, report: RehearsalReport) -> None:
    """Run until the rehearsal ends or a signal arrives. Either way no process is left running."""
    rehearsal = asyncio.create_task(rehearse(options, report))

    def stop() -> None:
        if not rehearsal.cancelling():  # a second signal must not interrupt the cleanup
            rehearsal.cancel()

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(signum, stop)
    await rehearsal


if __name__ == "__main__":
    sys.exit(main())
