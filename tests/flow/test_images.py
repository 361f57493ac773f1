"""An image goes in, its gray version comes out."""

import pytest
from PIL import Image

from local.options import SAMPLES
from local.samples_server import images_in
from tests.flow.flow import Flow
from tests.flow.source import Source, png
from tests.worker.fetching.loopback_source import ok


@pytest.mark.parametrize("name", images_in(SAMPLES))
def test_a_photograph_comes_back_gray_and_as_large(steady: Flow, source: Source, name: str) -> None:
    path = SAMPLES / name
    task = steady.when_over(steady.submit(source.url(ok(path.read_bytes()))))
    assert task["status"] == "COMPLETED", task
    result = steady.image(task)
    with Image.open(path) as original:
        assert (result.mode, result.size) == ("L", original.size)
        assert result.format == original.format


def test_operations_are_done_in_order_and_the_output_is_what_was_asked(
    steady: Flow, source: Source
) -> None:
    task_id = steady.submit(
        source.url(ok(png(size=(40, 20)))),
        operations=[{"name": "rotate", "degrees": 90}, {"name": "resize", "width": 10}],
        output={"format": "webp"},
    )
    result = steady.image(steady.when_over(task_id))
    assert (result.format, result.size) == ("WEBP", (10, 20))


def test_the_result_is_also_reached_by_its_own_route(steady: Flow, source: Source) -> None:
    task = steady.when_over(steady.submit(source.url(ok(png()))))
    url = steady.client.result_url(task["taskId"])
    assert url is not None
    answer = steady.client.download(url)
    assert answer.status == 200
    assert answer.data == steady.result(task)
