"""A table, a queue and a bucket whose calls to AWS fail."""

from typing import Any, NoReturn

from services.common.errors import BucketUnavailable, QueueUnavailable, TableUnavailable
from services.common.result_bucket import ResultBucket
from services.common.task_queue import Backlog, TaskQueue
from services.common.task_table import TaskTable

BUG = "secret details"
REASON = "PutItem: internal-endpoint-10-0-0-7"


class BrokenTable(TaskTable):
    def __init__(self) -> None:
        pass

    def get(self, *_: Any) -> NoReturn:
        self._fail()

    def create(self, *_: Any) -> NoReturn:
        self._fail()

    def _fail(self) -> NoReturn:
        raise TableUnavailable(REASON)


class BuggyTable(BrokenTable):
    """A table with a bug of ours, which is no error of AWS."""

    def _fail(self) -> NoReturn:
        raise ZeroDivisionError(BUG)


class BrokenQueue(TaskQueue):
    """A queue that reports its backlog and accepts no messages."""

    def __init__(self) -> None:
        pass

    def send(self, *_: Any, **__: Any) -> NoReturn:
        raise QueueUnavailable(REASON)

    def send_all(self, *_: Any) -> NoReturn:
        raise QueueUnavailable(REASON)

    def backlog(self) -> Backlog:
        return Backlog(visible=0, in_flight=0, delayed=0)


class UnreachableQueue(BrokenQueue):
    """A queue that does not even report its backlog."""

    def backlog(self) -> NoReturn:
        raise QueueUnavailable(REASON)


class BrokenBucket(ResultBucket):
    def __init__(self) -> None:
        pass

    def presign(self, *_: Any, **__: Any) -> NoReturn:
        raise BucketUnavailable(REASON)
