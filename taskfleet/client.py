"""Submitting images, waiting for their tasks and downloading results.

Every call has a time limit for all that it does. Whatever is safe to repeat is repeated until then:
reads, and submissions, which always have an idempotency key.
"""

import hashlib
import random
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from taskfleet.api_client import ApiClient, Response
from taskfleet.deadline import Deadline
from taskfleet.errors import (
    AccessDenied,
    ResultCorrupt,
    TaskFailed,
    TaskfleetError,
    TaskNotFinal,
    Unavailable,
)
from taskfleet.repetition import TryAgain, accepted, repeated, request, retry_after_s
from taskfleet.task import Submission, Task

CALL_TIMEOUT_S = 60.0
"""Default time limit of a call, with its repetitions."""
TASK_TIMEOUT_S = 3_600.0
"""Default time limit for the end of a task."""
DOWNLOAD_TIMEOUT_S = 300.0

POLL_S = 1.0
"""Time between two polls if the API suggests none."""
LONGEST_POLL_S = 30.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one submission of ``Client.map``: its final task, or why there is none."""

    submission: Submission
    task: Task | None = None
    error: TaskfleetError | None = None

    @property
    def completed(self) -> bool:
        return self.task is not None and self.task.completed


class Client:
    """Thread-safe. Leaving its ``with`` closes its connections.

    `url` is the API's address and `key` an API key. `ca_file` names a file of certificate
    authorities to trust instead of the default ones. Calls raise ``TaskfleetError``.
    """

    def __init__(
        self, url: str, *, key: str, ca_file: str | None = None, connections: int = 32
    ) -> None:
        if not url.startswith(("https://", "http://")):
            raise ValueError("The URL of the API must start with https:// or http://.")
        self._api = ApiClient(url, key=key, ca_file=ca_file, connections=connections)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._api.close()

    # ── One task ──────────────────────────────────────────────────────────────────────────────

    def submit(
        self,
        submission: Submission,
        *,
        idempotency_key: str | None = None,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Task:
        """Submit an image, and return its task at once.

        A key that was used before returns the task of then, so a submission can be repeated after
        any failure. Without a key, a random one makes the repetitions within this call safe.
        """
        key = idempotency_key or secrets.token_urlsafe(24)
        body = submission.body()
        return self._task(lambda: self._api.submit(body, idempotency_key=key), Deadline(timeout_s))

    def get(self, task_id: str, *, timeout_s: float = CALL_TIMEOUT_S) -> Task:
        """The task as it is now."""
        return self._task(lambda: self._api.get_task(task_id), Deadline(timeout_s))

    def wait(self, task: Task, *, timeout_s: float = TASK_TIMEOUT_S) -> Task:
        """The task when it is final. Raises TaskNotFinal at the time limit; the task goes on."""
        return self._wait(task, Deadline(timeout_s), stop=threading.Event())

    def process(
        self,
        submission: Submission,
        *,
        idempotency_key: str | None = None,
        timeout_s: float = TASK_TIMEOUT_S,
    ) -> Task:
        """Submit an image and wait. Raises TaskFailed unless the task is COMPLETED."""
        deadline = Deadline(timeout_s)
        submitted = self.submit(
            submission, idempotency_key=idempotency_key, timeout_s=min(timeout_s, CALL_TIMEOUT_S)
        )
        task = self._wait(submitted, deadline, stop=threading.Event())
        if not task.completed:
            raise TaskFailed(task)
        return task

    def cancel(self, task_id: str, *, timeout_s: float = CALL_TIMEOUT_S) -> Task:
        """Cancel an open task. Not repeated, because a second call would be a conflict."""
        return self._task(lambda: self._api.cancel(task_id), Deadline(timeout_s), repeat=False)

    def retry(self, task_id: str, *, timeout_s: float = CALL_TIMEOUT_S) -> Task:
        """Run a failed or canceled task again. Not repeated, because that could run it twice."""
        return self._task(lambda: self._api.retry(task_id), Deadline(timeout_s), repeat=False)

    def operations(self, *, timeout_s: float = CALL_TIMEOUT_S) -> Sequence[Mapping[str, Any]]:
        """The operations, each with its name, description and JSON schema."""
        response = self._answer(self._api.operations, Deadline(timeout_s), repeat=True)
        return cast("Sequence[Mapping[str, Any]]", response.body.get("operations", ()))

    # ── Many tasks ────────────────────────────────────────────────────────────────────────────

    def map(
        self,
        submissions: Iterable[Submission],
        *,
        run: str | None = None,
        concurrency: int = 16,
        timeout_s: float = TASK_TIMEOUT_S,
    ) -> Iterator[Outcome]:
        """Yield the outcome of each submission when it ends, in any order.

        At most `concurrency` tasks are open at once, and no more submissions are read ahead.
        `timeout_s` limits each of them. With a name for the `run`, equal submissions have equal
        idempotency keys: after a crash, the same call with the same name continues, and returns the
        tasks of then instead of submitting again. Raises AccessDenied, which no other submission
        would escape; all other errors are in the outcomes.
        """
        remaining = iter(submissions)
        stop = threading.Event()
        with ThreadPoolExecutor(concurrency, thread_name_prefix="taskfleet-map") as pool:

            def start(count: int) -> set[Future[Outcome]]:
                return {
                    pool.submit(self._outcome, submission, run, timeout_s, stop)
                    for submission in islice(remaining, count)
                }

            try:
                running = start(concurrency)
                while running:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    running |= start(len(done))
                    yield from (future.result() for future in done)
            finally:
                stop.set()

    def _outcome(
        self, submission: Submission, run: str | None, timeout_s: float, stop: threading.Event
    ) -> Outcome:
        deadline = Deadline(timeout_s)
        key = submission.key_for(run) if run is not None else None
        try:
            task = self.submit(
                submission, idempotency_key=key, timeout_s=min(timeout_s, CALL_TIMEOUT_S)
            )
            return Outcome(submission, self._wait(task, deadline, stop=stop))
        except AccessDenied:
            raise
        except TaskNotFinal as open_task:
            return Outcome(submission, open_task.task, open_task)
        except TaskfleetError as error:
            return Outcome(submission, error=error)

    # ── Results ───────────────────────────────────────────────────────────────────────────────

    def read(self, task: Task, *, timeout_s: float = DOWNLOAD_TIMEOUT_S) -> bytes:
        """The bytes of a completed task's result, checked against its hash."""
        if task.result is None:
            raise TaskFailed(task) if task.final else TaskNotFinal(task)
        deadline = Deadline(timeout_s)
        fresh = self.get(task.task_id, timeout_s=timeout_s)  # URLs expire within minutes
        return repeated(lambda: self._download(fresh, deadline), deadline)

    def download(self, task: Task, path: Path, *, timeout_s: float = DOWNLOAD_TIMEOUT_S) -> None:
        """Write the result to a file, which appears only once it is complete."""
        data = self.read(task, timeout_s=timeout_s)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".taskfleet-") as folder:
            partial = Path(folder) / path.name
            partial.write_bytes(data)
            partial.replace(path)

    def _download(self, task: Task, deadline: Deadline) -> bytes:
        if task.result is None or task.result_url is None:
            raise Unavailable(f"Task {task.task_id} has no result any more.")
        url = task.result_url
        response = request(lambda: self._api.download(url), deadline)
        if response.status != HTTPStatus.OK:
            raise TryAgain(Unavailable(f"The download failed with status {response.status}."))
        if hashlib.sha256(response.data).hexdigest() != task.result.sha256:
            raise TryAgain(ResultCorrupt(f"The result of task {task.task_id} has another hash."))
        return response.data

    # ── Requests ──────────────────────────────────────────────────────────────────────────────

    def _wait(self, task: Task, deadline: Deadline, *, stop: threading.Event) -> Task:
        while not task.final:
            pause_s = min(task.poll_after_s or POLL_S, LONGEST_POLL_S)
            jitter = random.uniform(1, 1.1)  # noqa: S311 - many waits must not poll in step
            stop.wait(min(pause_s * jitter, deadline.remaining_s()))
            remaining_s = deadline.remaining_s()
            if stop.is_set() or remaining_s == 0:
                raise TaskNotFinal(task)
            with suppress(Unavailable):  # the API may come back before the deadline
                task = self.get(task.task_id, timeout_s=min(remaining_s, CALL_TIMEOUT_S))
        return task

    def _task(
        self, call: Callable[[], Response], deadline: Deadline, *, repeat: bool = True
    ) -> Task:
        response = self._answer(call, deadline, repeat=repeat)
        try:
            return Task.of(response.body, poll_after_s=retry_after_s(response.headers))
        except (KeyError, TypeError, ValueError):
            raise Unavailable("The answer is not a task. Is the URL that of the API?") from None

    def _answer(
        self, call: Callable[[], Response], deadline: Deadline, *, repeat: bool
    ) -> Response:
        def attempt() -> Response:
            return accepted(request(call, deadline))

        if repeat:
            return repeated(attempt, deadline)
        try:
            return attempt()
        except TryAgain as failed:
            raise failed.error from failed
