"""What came of every acknowledged task, judged by what a client gets and what the bucket holds."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from urllib3 import BaseHTTPResponse

from services.common.task_record import from_rfc3339
from taskfleet.api_client import Response, Task, is_final
from tests.soak import serial_image
from tests.soak.driver import GRACE, Acknowledged

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

AT_ONCE = 8


@dataclass(slots=True)
class SoakVerdict:
    completed: int = 0
    failed: int = 0
    canceled: int = 0
    lost: int = 0
    """Acknowledged, and unknown now."""
    stuck: int = 0
    """Not over by the deadline that the task states, and some grace."""
    conflicting: int = 0
    """The result is not that of the attempt that the row names, or an end was not the end."""
    failure_codes: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    """A sentence for each task that is lost, stuck or conflicting."""
    finished_at: dict[str, datetime] = field(default_factory=dict)


class Answers(Protocol):
    """What the judge asks of an `ApiClient`."""

    def get_task(self, task_id: str) -> Response: ...

    def download(self, url: str) -> BaseHTTPResponse: ...


class Served(Protocol):
    """What the judge asks of a `SoakSource`."""

    def served(self, url: str) -> frozenset[int]: ...


class SoakJudge:
    def __init__(self, client: Answers, source: Served) -> None:
        self._client = client
        self._source = source

    def verdict(self, acknowledged: Sequence[Acknowledged]) -> SoakVerdict:
        verdict = SoakVerdict()
        with ThreadPoolExecutor(AT_ONCE) as clerks:
            for task, answer in zip(
                acknowledged,
                clerks.map(lambda task: self._client.get_task(task.task_id), acknowledged),
                strict=True,
            ):
                if answer.status == HTTPStatus.NOT_FOUND:
                    verdict.lost += 1
                    verdict.findings.append(f"lost: {task.task_id}")
                else:
                    self._judge(task, answer.body, verdict)
        return verdict

    def _judge(self, task: Acknowledged, row: Task, verdict: SoakVerdict) -> None:
        if not is_final(row) or _late(row):
            verdict.stuck += 1
            verdict.findings.append(f"stuck: {row}")
            return
        verdict.finished_at[task.task_id] = from_rfc3339(row["finishedAt"])
        match row["status"]:
            case "COMPLETED":
                verdict.completed += 1
            case "FAILED":
                verdict.failed += 1
                verdict.failure_codes[row["failureCode"]] += 1
            case _:
                verdict.canceled += 1
        for conflict in self._conflicts(task, row):
            verdict.conflicting += 1
            verdict.findings.append(f"conflicting: {conflict}: {row}, first seen as {task.final}")
            return

    def _conflicts(self, task: Acknowledged, row: Task) -> Sequence[str]:
        conflicts = []
        if task.final is not None and _lasting(task.final) != _lasting(row):
            conflicts.append("an end that changed")
        if row["status"] == "COMPLETED":
            conflicts += self._conflicts_of_result(task, row)
        elif "result" in row:
            conflicts.append("a result of a task that is not completed")
        return conflicts

    def _conflicts_of_result(self, task: Acknowledged, row: Task) -> Sequence[str]:
        answer = self._client.download(row["resultUrl"])
        if answer.status != HTTPStatus.OK:
            return [f"no result to be had ({answer.status})"]
        key = urlsplit(row["resultUrl"]).path
        expectations = {
            "the key is not that of the attempt": key.endswith(
                f"/results/{task.task_id}/{row['attempt']}.png"
            ),
            "the bytes are not those that the row names": row["result"]["sha256"]
            == hashlib.sha256(answer.data).hexdigest(),
            "made of no image that was served to the task": serial_image.decode(answer.data)
            in self._source.served(task.url),
        }
        return [conflict for conflict, as_expected in expectations.items() if not as_expected]


def duplicate_executions(s3: "S3Client", *, bucket: str) -> int:
    """How often a task was worked on to its end again: results beyond the first of each task."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="results/")
    results = Counter(
        entry["Key"].split("/")[1] for page in pages for entry in page.get("Contents", ())
    )
    return results.total() - len(results)


def _late(row: Task) -> bool:
    return from_rfc3339(row["finishedAt"]) > from_rfc3339(row["deadlineAt"]) + GRACE


def _lasting(row: Task) -> Task:
    """Without the URL, which is signed anew each time."""
    return {name: value for name, value in row.items() if name != "resultUrl"}
