"""A client's proofs: a key, every hop, every operation with its picture, and what must fail."""

import asyncio
import io
import json
import sys
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from PIL import Image, ImageChops, ImageStat

from local.rehearsal import commands
from local.rehearsal.failure import Failed
from local.rehearsal.pictures import PICTURE, SAMPLES
from local.rehearsal.stage import Stage
from local.rehearsal.tasks import OVER_WITHIN_S, TaskClient
from taskctl.api_client import ApiClient
from taskctl.examination import Examination

SIZE = (640, 427)
"""Of the sample."""

OPERATIONS: Mapping[str, Mapping[str, Any]] = {
    "grayscale": {},
    "resize": {"width": 160, "height": 160, "mode": "fill"},
    "rotate": {"degrees": 90},
    "convert": {"format": "png"},
}
"""Parameters of each; an operation of the catalogue that is missing here is a failure."""

EXPECTED = {
    "grayscale": ("JPEG", "L", SIZE),
    "resize": ("JPEG", "RGB", (160, 160)),
    "rotate": ("JPEG", "RGB", SIZE[::-1]),
    "convert": ("PNG", "RGB", SIZE),
}
"""Format, mode and size of the picture that must come out."""

COMPARED_AT = (16, 16)
"""So small that neither JPEG's losses nor the choice of a filter matter, only what is shown."""
TOLERANCE = 6.0
"""Mean difference of a pixel there, of 255, to what Pillow makes of the sample."""

TASK_METADATA = "http://169.254.170.2/v2/credentials"
"""Where real containers get their credentials from."""


REFRESHED_WITHIN_S = 60
"""The promise: a key is known within a minute."""
IN_A_ROW = 12
"""Answers, to have met every process of every container."""


async def create_key(stage: Stage, environment: Mapping[str, str]) -> ApiClient:
    """With the operator's own tool, on the deployed secret."""
    async with stage.proof("taskctl makes a key"):
        created = await commands.run(
            (
                *(sys.executable, "-m", "taskctl", "keys", "create", "--client", "rehearsal"),
                *("--environment", stage.deployment.environment_name, "--json"),
            ),
            environment=environment,
            purpose="taskctl keys create",
        )
        key = json.loads(created)["key"]
        return ApiClient(stage.balancer.url, key=key, ca_file=stage.ca_file)


async def late_key(stage: Stage, api: ApiClient) -> None:
    """A key that was made while the API ran is known to all of it."""
    async with stage.proof("A key that was made meanwhile is known to every process of the API"):
        accepted = 0
        try:
            async with asyncio.timeout(REFRESHED_WITHIN_S):
                while accepted < IN_A_ROW:
                    answer = await asyncio.to_thread(api.get, "/operations")
                    accepted = accepted + 1 if answer.status == HTTPStatus.OK else 0
                    if not accepted:
                        await asyncio.sleep(0.5)
        except TimeoutError:
            raise Failed(
                f"It is not known after {REFRESHED_WITHIN_S} s: {answer.problem}"
            ) from None


async def examine(stage: Stage, tasks: TaskClient) -> None:
    """The doctor's examination."""
    async with stage.proof("The doctor finds every hop well: health, readiness, key, task, result"):
        examination = Examination(
            tasks.api,
            picture_url=stage.pictures.url(),
            patience_s=OVER_WITHIN_S,
            monotonic=time.monotonic,
            sleep=time.sleep,
        )
        for finding in await asyncio.to_thread(lambda: list(examination.run())):
            if not finding.ok:
                raise Failed(f"The doctor says of the {finding.hop}: {finding.sentence}")
        stage.report.figures.tasksCompleted += 1


async def every_operation(stage: Stage, tasks: TaskClient) -> None:
    async with stage.proof("One task per operation is COMPLETED with the right picture") as told:
        answer = await asyncio.to_thread(tasks.api.get, "/operations")
        names = sorted(operation["name"] for operation in answer.body["operations"])
        if missing := set(names) - OPERATIONS.keys():
            raise Failed(f"The rehearsal has no proof of {', '.join(sorted(missing))}.")
        for name in names:
            task_id = await tasks.submit(
                stage.pictures.url(), operations=[{"name": name, **OPERATIONS[name]}]
            )
            task = await tasks.over(task_id, status="COMPLETED")
            picture = await asyncio.to_thread(tasks.api.download, task["resultUrl"])
            if picture is None:
                raise Failed(f"The result of {name} is not served under its URL.")
            _compare(name, picture)
            stage.report.figures.tasksCompleted += 1
        told.append(f"({', '.join(names)})")


def _compare(name: str, data: bytes) -> None:
    """Raises ``Failed`` when the picture is not what the operation must make of the sample."""
    with Image.open(io.BytesIO(data)) as result, Image.open(SAMPLES / PICTURE) as sample:
        found = (result.format, result.mode, result.size)
        if found != EXPECTED[name]:
            raise Failed(f"The result of {name} is {found}, not {EXPECTED[name]}.")
        shown = result.convert("RGB").resize(COMPARED_AT)
        expected = _expected(name, sample).resize(COMPARED_AT)
        difference = ImageStat.Stat(ImageChops.difference(shown, expected))
    mean = sum(difference.mean) / len(difference.mean)
    if mean > TOLERANCE:
        raise Failed(f"The result of {name} shows something else: pixels differ by {mean:.1f}.")


def _expected(name: str, sample: Image.Image) -> Image.Image:
    match name:
        case "grayscale":
            return sample.convert("L").convert("RGB")
        case "rotate":
            return sample.transpose(Image.Transpose.ROTATE_270)  # Pillow turns the other way
        case "resize":
            edge = min(sample.size)
            left, top = (sample.width - edge) // 2, (sample.height - edge) // 2
            return sample.crop((left, top, left + edge, top + edge)).resize(EXPECTED[name][2])
    return sample.convert("RGB")


async def wrong_pictures(stage: Stage, tasks: TaskClient) -> None:
    """What can never be a result is FAILED, with the code that says why."""
    async with stage.proof("What cannot work is FAILED with the right code") as told:
        wrong = {
            "source_not_found": stage.pictures.url("missing.jpg"),
            "not_a_picture": stage.pictures.url("page"),
            "source_address_blocked": TASK_METADATA,
        }
        for code, url in wrong.items():
            task = await tasks.over(await tasks.submit(url), status="FAILED")
            if task["failureCode"] != code:
                raise Failed(f"The task of {url} fails with {task['failureCode']}, not {code}.")
            stage.report.figures.tasksFailedAsExpected += 1
        told.append(f"({', '.join(wrong)})")


async def recovering_source(stage: Stage, tasks: TaskClient) -> None:
    async with stage.proof("A source that fails once costs an attempt, not the task"):
        task = await tasks.over(
            await tasks.submit(stage.pictures.recovering_url()), status="COMPLETED"
        )
        if task["attempt"] != 2:  # noqa: PLR2004 - the first found the source down
            raise Failed(f"A source that failed once took {task['attempt']} attempts.")
        stage.report.figures.tasksCompleted += 1


async def cancel_and_retry(stage: Stage, tasks: TaskClient) -> None:
    async with stage.proof("A task is canceled while it runs, and retried"):
        stage.pictures.hold()
        task_id = await tasks.submit(stage.pictures.held_url())
        await stage.pictures.holds(1)
        await tasks.act(task_id, "cancel")
        await tasks.over(task_id, status="CANCELED")
        stage.pictures.release()
        await tasks.act(task_id, "retry")
        await tasks.over(task_id, status="COMPLETED")
        stage.report.figures.tasksCompleted += 1
