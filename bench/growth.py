"""What grows with the number of waiting tasks, and with the number of processed ones."""

from collections.abc import Callable, Sequence
from pathlib import Path

from bench.contestants import TASKFLEET
from bench.figures import Figures
from bench.images import TINY
from bench.program import running
from bench.stub_aws.client import State, StubAws
from bench.tasks import Entrant

WARM_UP_TASKS = 200


def measure(
    backlogs: Sequence[int],
    *,
    tasks: int,
    tasks_of_largest: int,
    images: Path,
    scratch: Path,
    report: Callable[[str], None],
) -> Figures:
    """Process `tasks` tasks of each backlog, and `tasks_of_largest` of the last one.

    The image is a single pixel and AWS has no latency, so that the worker is the bottleneck.
    """
    log = scratch / "growth.log"
    with (
        StubAws(images=images, log=log.with_suffix(".aws.log")) as aws,
        running(TASKFLEET.program(aws, scratch), log=log) as program,
    ):
        worker = Entrant(TASKFLEET, aws, program)
        _process(worker, WARM_UP_TASKS, WARM_UP_TASKS)
        measured = {}
        for backlog in backlogs:
            report(f"{backlog:,} waiting tasks")
            wanted = tasks_of_largest if backlog == max(backlogs) else tasks
            measured[str(backlog)] = _process(worker, backlog, min(wanted, backlog))
        return {"backlogs": measured}


def _process(worker: Entrant, backlog: int, tasks: int) -> Figures:
    aws, memory = worker.aws, []
    first, goal = worker.put_rows(TINY, backlog), aws.state().completed + tasks

    def note_memory(state: State, rss_mb: float) -> None:
        memory.append([tasks - goal + state.completed, round(rss_mb, 1)])

    figures = worker.measure(
        lambda: aws.send(first=first, count=backlog),
        lambda state: state.completed >= goal,
        on_sample=note_memory,
    )
    aws.purge_queue()
    worker.program.wait_until(lambda: aws.state().in_flight == 0, "settle its messages")
    aws.forget_rows()
    rounded = {name: round(figure, 3) for name, figure in figures.items() if name != "calls"}
    return {"tasks": tasks, **rounded, "rss_mb_by_tasks": memory}
