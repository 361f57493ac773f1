"""What a client experiences: the doctor, unusable images, a failing source, cancel and retry."""

import asyncio
import time

from rehearsal.failure import RehearsalFailed
from rehearsal.proof_context import ProofContext
from rehearsal.task_client import TASK_TIMEOUT_S, TaskClient
from taskctl.deployment_check import DeploymentCheck

CREDENTIALS_URL = "http://169.254.170.2/v2/credentials"
"""The address at which ECS serves credentials to containers."""

POLL_INTERVAL_S = 0.5


async def run_doctor(context: ProofContext, tasks: TaskClient) -> None:
    async with context.proof("The doctor finds no fault: health, readiness, key, task, result"):
        doctor = DeploymentCheck(
            tasks.api,
            image_url=context.images.url(),
            timeout_s=TASK_TIMEOUT_S,
            monotonic=time.monotonic,
            sleep=time.sleep,
        )
        for result in await asyncio.to_thread(lambda: list(doctor.run())):
            if not result.ok:
                raise RehearsalFailed(f"The doctor reports on {result.check}: {result.message}")
        context.report.figures.tasksCompleted += 1


async def unusable_images(context: ProofContext, tasks: TaskClient) -> None:
    async with context.proof("Images that cannot be processed fail with the right code") as notes:
        urls = {
            "source_not_found": context.images.url("missing.jpg"),
            "not_an_image": context.images.url("page"),
            "source_address_blocked": CREDENTIALS_URL,
        }
        for code, url in urls.items():
            task = await tasks.wait_until_final(await tasks.submit(url), expected="FAILED")
            if task["failureCode"] != code:
                raise RehearsalFailed(
                    f"The task for {url} failed with {task['failureCode']}, not {code}."
                )
            context.report.figures.tasksFailedAsExpected += 1
        notes.append(f"({', '.join(urls)})")


async def recovering_source(context: ProofContext, tasks: TaskClient) -> None:
    async with context.proof("A source that fails once costs an attempt, not the task"):
        task = await tasks.wait_until_final(
            await tasks.submit(context.images.recovering_url()), expected="COMPLETED"
        )
        if task["attempt"] != 2:  # noqa: PLR2004 - the source fails during the first attempt
            raise RehearsalFailed(f"A source that failed once took {task['attempt']} attempts.")
        context.report.figures.tasksCompleted += 1


async def cancel_and_retry(context: ProofContext, tasks: TaskClient) -> None:
    async with context.proof("A running task can be canceled and retried"):
        context.images.hold()
        task_id = await tasks.submit(context.images.held_url())
        await context.images.wait_until_held(1)
        await tasks.cancel(task_id)
        await tasks.wait_until_final(task_id, expected="CANCELED")
        context.images.release()
        await tasks.retry(task_id)
        await tasks.wait_until_final(task_id, expected="COMPLETED")
        context.report.figures.tasksCompleted += 1


async def unreadable_message(context: ProofContext) -> None:
    async with context.proof("A message that names no task goes to the dead-letter queue"):
        context.clients.sqs.send_message(
            QueueUrl=context.deployment.output("state", "TaskQueueUrl"), MessageBody="not a task"
        )
        while True:
            if _count_dead_letters(context):
                return
            await asyncio.sleep(POLL_INTERVAL_S)


def _count_dead_letters(context: ProofContext) -> int:
    response = context.clients.sqs.get_queue_attributes(
        QueueUrl=context.deployment.output("state", "DeadLetterQueueUrl"),
        AttributeNames=["ApproximateNumberOfMessages"],
    )
    return int(response["Attributes"]["ApproximateNumberOfMessages"])
