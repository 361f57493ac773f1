"""Parts of AWS that do not answer."""

from typing import Any, NoReturn

from services.common.errors import BucketUnavailable, QueueUnavailable, TableUnavailable
from services.common.result_bucket import ResultBucket
from services.common.task_queue import TaskQueue
from services.common.task_table import TaskTable

BUG = "secret details"
REASON = "PutItem: internal-endpoint-10-0-0-7"


class BrokenTable(TaskTable):
    def __init__(self) -> None:
        pass

    def get(self, *_: Any) -> NoReturn:
        self._break()

    def create(self, *_: Any) -> NoReturn:
        self._break()

    def _break(self) -> NoReturn:
        raise TableUnavailable(REASON)


class BuggyTable(BrokenTable):
    """Not AWS's fault but ours."""

    def _break(self) -> NoReturn:
        raise ZeroDivisionError(BUG)


class BrokenQueue(TaskQueue):
    def __init__(self) -> None:
        pass

    def send(self, *_: Any, **__: Any) -> NoReturn:
        raise QueueUnavailable(REASON)


class BrokenBucket(ResultBucket):
    def __init__(self) -> None:
        pass

    def presign(self, *_: Any, **__: Any) -> NoReturn:
        raise BucketUnavailable(REASON)
