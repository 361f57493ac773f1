"""What a client meets: every hop well, images that cannot work, sources that recover, a retry."""

import asyncio
import time

from rehearsal.failure import Failed
from rehearsal.proof_context import ProofContext
from rehearsal.task_client import OVER_WITHIN_S, TaskClient
from taskctl.deployment_check import DeploymentCheck

TASK_METADATA = "http://169.254.170.2/v2/credentials"
"""Where real containers get their credentials from."""


async def examine(context: ProofContext, tasks: TaskClient) -> None:
    """The doctor's examination."""
    async with context.proof(
        "The doctor finds every hop well: health, readiness, key, task, result"
    ):
        doctor = DeploymentCheck(
            tasks.api,
            image_url=context.images.url(),
            timeout_s=OVER_WITHIN_S,
            monotonic=time.monotonic,
            sleep=time.sleep,
        )
        for result in await asyncio.to_thread(lambda: list(doctor.run())):
            if not result.ok:
                raise Failed(f"The doctor says of the {result.check}: {result.message}")
        context.report.figures.tasksCompleted += 1


async def wrong_images(context: ProofContext, tasks: TaskClient) -> None:
    """What can never be a result is FAILED, with the code that says why."""
    async with context.proof("What cannot work is FAILED with the right code") as told:
        wrong = {
            "source_not_found": context.images.url("missing.jpg"),
            "not_an_image": context.images.url("page"),
            "source_address_blocked": TASK_METADATA,
        }
        for code, url in wrong.items():
            task = await tasks.over(await tasks.submit(url), status="FAILED")
            if task["failureCode"] != code:
                raise Failed(f"The task of {url} fails with {task['failureCode']}, not {code}.")
            context.report.figures.tasksFailedAsExpected += 1
        told.append(f"({', '.join(wrong)})")


async def recovering_source(context: ProofContext, tasks: TaskClient) -> None:
    async with context.proof("A source that fails once costs an attempt, not the task"):
        task = await tasks.over(
            await tasks.submit(context.images.recovering_url()), status="COMPLETED"
        )
        if task["attempt"] != 2:  # noqa: PLR2004 - the first found the source down
            raise Failed(f"A source that failed once took {task['attempt']} attempts.")
        context.report.figures.tasksCompleted += 1


async def cancel_and_retry(context: ProofContext, tasks: TaskClient) -> None:
    async with context.proof("A task is canceled while it runs, and retried"):
        context.images.hold()
        task_id = await tasks.submit(context.images.held_url())
        await context.images.holds(1)
        await tasks.act(task_id, "cancel")
        await tasks.over(task_id, status="CANCELED")
        context.images.release()
        await tasks.act(task_id, "retry")
        await tasks.over(task_id, status="COMPLETED")
        context.report.figures.tasksCompleted += 1
