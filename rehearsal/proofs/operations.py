"""Every operation of the catalog produces the expected image."""

import asyncio
import io
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from PIL import Image, ImageChops, ImageStat

from rehearsal.failure import RehearsalFailed
from rehearsal.image_source import IMAGE, SAMPLES
from rehearsal.proof_context import ProofContext
from rehearsal.task_client import TaskClient

SIZE = (640, 427)
"""Size of the sample image, in pixels."""

PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "grayscale": {},
    "resize": {"width": 160, "height": 160, "mode": "fill"},
    "rotate": {"degrees": 90},
    "convert": {"format": "png"},
}
"""Parameters by operation. An operation of the catalog that is missing here is a failure."""

EXPECTED = {
    "grayscale": ("JPEG", "L", SIZE),
    "resize": ("JPEG", "RGB", (160, 160)),
    "rotate": ("JPEG", "RGB", SIZE[::-1]),
    "convert": ("PNG", "RGB", SIZE),
}
"""Format, mode and size of the result, by operation."""

COMPARED_SIZE = (16, 16)
"""Images are compared at this size, so that JPEG losses and resampling filters do not matter."""
TOLERANCE = 6.0
"""Largest mean difference per channel, of 255, from the image that Pillow makes of the sample."""


async def every_operation(context: ProofContext, tasks: TaskClient) -> None:
    async with context.proof("One task per operation is COMPLETED with the right image") as notes:
        catalog = await asyncio.to_thread(tasks.api.request, "GET", "/operations")
        names = sorted(operation["name"] for operation in catalog.body["operations"])
        if missing := set(names) - PARAMETERS.keys():
            raise RehearsalFailed(f"The rehearsal does not test {', '.join(sorted(missing))}.")
        for name in names:
            task_id = await tasks.submit(
                context.images.url(), operations=[{"name": name, **PARAMETERS[name]}]
            )
            task = await tasks.wait_until_final(task_id, expected="COMPLETED")
            response = await asyncio.to_thread(tasks.api.download, task["resultUrl"])
            if response.status != HTTPStatus.OK:
                raise RehearsalFailed(f"The result of {name} cannot be downloaded.")
            _compare(name, response.data)
            context.report.figures.tasksCompleted += 1
        notes.append(f"({', '.join(names)})")


def _compare(name: str, data: bytes) -> None:
    """Raises ``RehearsalFailed`` if the image is not what the operation makes of the sample."""
    with Image.open(io.BytesIO(data)) as result, Image.open(SAMPLES / IMAGE) as sample:
        actual = (result.format, result.mode, result.size)
        if actual != EXPECTED[name]:
            raise RehearsalFailed(f"The result of {name} is {actual}, not {EXPECTED[name]}.")
        small_result = result.convert("RGB").resize(COMPARED_SIZE)
        small_expected = _expected(name, sample).resize(COMPARED_SIZE)
        difference = ImageStat.Stat(ImageChops.difference(small_result, small_expected))
    mean = sum(difference.mean) / len(difference.mean)
    if mean > TOLERANCE:
        raise RehearsalFailed(
            f"The result of {name} differs from the expected image by {mean:.1f} per channel."
        )


def _expected(name: str, sample: Image.Image) -> Image.Image:
    match name:
        case "grayscale":
            return sample.convert("L").convert("RGB")
        case "rotate":
            # The operation turns clockwise, Pillow counterclockwise.
            return sample.transpose(Image.Transpose.ROTATE_270)
        case "resize":
            edge = min(sample.size)
            left, top = (sample.width - edge) // 2, (sample.height - edge) // 2
            return sample.crop((left, top, left + edge, top + edge)).resize(EXPECTED[name][2])
    return sample.convert("RGB")
