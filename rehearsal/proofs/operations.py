"""Every operation of the catalogue makes the image that it must."""

import asyncio
import io
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from PIL import Image, ImageChops, ImageStat

from rehearsal.failure import Failed
from rehearsal.image_source import IMAGE, SAMPLES
from rehearsal.proof_context import ProofContext
from rehearsal.task_client import TaskClient

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
"""Format, mode and size of the image that must come out."""

COMPARED_AT = (16, 16)
"""So small that neither JPEG's losses nor the choice of a filter matter, only what is shown."""
TOLERANCE = 6.0
"""Mean difference of a pixel there, of 255, to what Pillow makes of the sample."""


async def every_operation(context: ProofContext, tasks: TaskClient) -> None:
    async with context.proof("One task per operation is COMPLETED with the right image") as told:
        answer = await asyncio.to_thread(tasks.api.request, "GET", "/operations")
        names = sorted(operation["name"] for operation in answer.body["operations"])
        if missing := set(names) - OPERATIONS.keys():
            raise Failed(f"The rehearsal has no proof of {', '.join(sorted(missing))}.")
        for name in names:
            task_id = await tasks.submit(
                context.images.url(), operations=[{"name": name, **OPERATIONS[name]}]
            )
            task = await tasks.over(task_id, status="COMPLETED")
            response = await asyncio.to_thread(tasks.api.download, task["resultUrl"])
            if response.status != HTTPStatus.OK:
                raise Failed(f"The result of {name} is not served under its URL.")
            _compare(name, response.data)
            context.report.figures.tasksCompleted += 1
        told.append(f"({', '.join(names)})")


def _compare(name: str, data: bytes) -> None:
    """Raises ``Failed`` when the image is not what the operation must make of the sample."""
    with Image.open(io.BytesIO(data)) as result, Image.open(SAMPLES / IMAGE) as sample:
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
