"""``make rehearse``: deploys to an emulated AWS, and proves as a client that it works.

Exit code 0 when everything is as it must be, 1 when anything is not; the last line is JSON.
"""

import asyncio
import logging
import signal
import sys
import traceback
import warnings

from rehearsal.failure import Failed
from rehearsal.options import RehearsalOptions, read_options
from rehearsal.rehearsal import failures, rehearse
from rehearsal.report import RehearsalReport


def main() -> int:
    options = read_options(sys.argv[1:])
    for chatty in ("werkzeug", "moto"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    # moto tells of every resource type that it skips.
    warnings.filterwarnings("ignore", module="moto")
    report = RehearsalReport(sys.stdout, title=f"The rehearsal of {options.profile}.")
    try:
        asyncio.run(_until_stopped(options, report))
    except asyncio.CancelledError:
        report.fail(Failed("It was stopped before its end."))
    except Exception as error:  # noqa: BLE001 - the outermost place: the last line comes last
        for failed in failures(error):
            report.fail(failed)
        if not report.wrong:
            traceback.print_exception(error, file=sys.stdout)
            report.fail(Failed("The rehearsal itself broke down."))
    return report.finish()


async def _until_stopped(options: RehearsalOptions, report: RehearsalReport) -> None:
    """Until done, or a signal; either way nothing is left running."""
    rehearsal = asyncio.create_task(rehearse(options, report))

    def stop() -> None:
        if not rehearsal.cancelling():  # a second signal must not cut the cleaning up short
            rehearsal.cancel()

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(signum, stop)
    await rehearsal


if __name__ == "__main__":
    sys.exit(main())
