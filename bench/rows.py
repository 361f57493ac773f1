"""Rows of tasks as the API writes them."""

from bench.stub_aws.table import Item
from bench.task_id import task_id
from services.common.clock import utc_now
from services.common.config import SubmissionConfig
from services.common.task import pending_task
from services.common.task_record import to_item


def row_template(image_url: str) -> Item:
    """The row of a new grayscale task."""
    task = pending_task(
        task_id=task_id(0),
        owner="bench",
        request_hash="0" * 64,
        request_id="0" * 32,
        input_image_url=image_url,
        operations=[{"name": "grayscale"}],
        output=None,
        policy=SubmissionConfig().submission_policy(),
        now=utc_now(),
    )
    return to_item(task)
