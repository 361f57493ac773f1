"""Judges the outcome of every acknowledged task by the API's responses and the stored results."""

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
from taskfleet.api_client import Response, TaskBody, is_final
from tests.soak import serial_image
from tests.soak.driver import GRACE, AcknowledgedTask

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

CONCURRENCY = 8


@dataclass(slots=True)
class SoakVerdict:
    completed: int = 0
    failed: int = 0
    canceled: int = 0
    lost: int = 0
    """Tasks that were acknowledged and are unknown now."""
    stuck: int = 0
    """Tasks that were not final by their stated deadline plus ``GRACE``."""
    conflicting: int = 0
    """Tasks whose result is not that of the attempt in the row, or whose final status changed."""
    failure_codes: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    """A description of each lost, stuck or conflicting task."""
    finished_at: dict[str, datetime] = field(default_factory=dict)


class TaskReader(Protocol):
    """The methods of ``ApiClient`` that the judge uses."""

    def get_task(self, task_id: str) -> Response: ...

    def download(self, url: str) -> BaseHTTPResponse: ...


class ServedImages(Protocol):
    """The method of ``SoakSource`` that the judge uses."""

    def served(self, url: str) -> frozenset[int]: ...


class SoakJudge:
    def __init__(self, client: TaskReader, source: ServedImages) -> None:
        self._client = client
        self._source = source

    def verdict(self, acknowledged: Sequence[AcknowledgedTask]) -> SoakVerdict:
        verdict = SoakVerdict()
        with ThreadPoolExecutor(CONCURRENCY) as executor:
            responses = executor.map(
                lambda acknowledged_task: self._client.get_task(acknowledged_task.task_id),
                acknowledged,
            )
            for acknowledged_task, response in zip(acknowledged, responses, strict=True):
                if response.status == HTTPStatus.NOT_FOUND:
                    verdict.lost += 1
                    verdict.findings.append(f"lost: {acknowledged_task.task_id}")
                else:
                    self._judge(acknowledged_task, response.body, verdict)
        return verdict

    def _judge(self, acknowledged: AcknowledgedTask, task: TaskBody, verdict: SoakVerdict) -> None:
        if not is_final(task) or _is_late(task):
            verdict.stuck += 1
            verdict.findings.append(f"stuck: {task}")
            return
        verdict.finished_at[acknowledged.task_id] = from_rfc3339(task["finishedAt"])
        match task["status"]:
            case "COMPLETED":
                verdict.completed += 1
            case "FAILED":
                verdict.failed += 1
                verdict.failure_codes[task["failureCode"]] += 1
            case _:
                verdict.canceled += 1
        if conflicts := self._conflicts(acknowledged, task):
            verdict.conflicting += 1
            verdict.findings.append(
                f"conflicting: {', '.join(conflicts)}: {task}, first seen as {acknowledged.final}"
            )

    def _conflicts(self, acknowledged: AcknowledgedTask, task: TaskBody) -> Sequence[str]:
        conflicts = []
        final = acknowledged.final
        if final is not None and _without_url(final) != _without_url(task):
            conflicts.append("the final status changed")
        if task["status"] == "COMPLETED":
            conflicts += self._result_conflicts(acknowledged, task)
        elif "result" in task:
            conflicts.append("a result although the task is not completed")
        return conflicts

    def _result_conflicts(self, acknowledged: AcknowledgedTask, task: TaskBody) -> Sequence[str]:
        response = self._client.download(task["resultUrl"])
        if response.status != HTTPStatus.OK:
            return [f"the result cannot be downloaded ({response.status})"]
        key = urlsplit(task["resultUrl"]).path
        serial = serial_image.decode(response.data)
        conditions = {
            "the key is that of another attempt": not key.endswith(
                f"/results/{acknowledged.task_id}/{task['attempt']}.png"
            ),
            "the bytes do not match the hash in the row": task["result"]["sha256"]
            != hashlib.sha256(response.data).hexdigest(),
            "the image was never served to this task": serial
            not in self._source.served(acknowledged.url),
        }
        return [conflict for conflict, holds in conditions.items() if holds]


def duplicate_executions(s3: "S3Client", *, bucket: str) -> int:
    """The number of stored results beyond the first of each task."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="results/")
    results = Counter(
        entry["Key"].split("/")[1] for page in pages for entry in page.get("Contents", ())
    )
    return results.total() - len(results)


def _is_late(task: TaskBody) -> bool:
    return from_rfc3339(task["finishedAt"]) > from_rfc3339(task["deadlineAt"]) + GRACE


def _without_url(task: TaskBody) -> TaskBody:
    """The task without `resultUrl`, which differs in every response."""
    return {name: value for name, value in task.items() if name != "resultUrl"}
