"""Images are processed as requested."""

import pytest
from PIL import Image

from local.options import SAMPLES
from local.samples_server import images_in
from tests.flow.source import FlowSource, png
from tests.flow.system import DeployedSystem
from tests.worker.fetching.loopback_source import ok


@pytest.mark.parametrize("name", images_in(SAMPLES))
def test_a_sample_is_converted_to_grayscale_at_its_size(
    system: DeployedSystem, source: FlowSource, name: str
) -> None:
    path = SAMPLES / name
    task = system.wait_until_final(system.submit(source.url(ok(path.read_bytes()))))
    assert task["status"] == "COMPLETED", task
    result = system.result_image(task)
    with Image.open(path) as original:
        assert (result.mode, result.size) == ("L", original.size)
        assert result.format == original.format


def test_operations_run_in_order_and_the_output_has_the_requested_format(
    system: DeployedSystem, source: FlowSource
) -> None:
    task_id = system.submit(
        source.url(ok(png(size=(40, 20)))),
        operations=[{"name": "rotate", "degrees": 90}, {"name": "resize", "width": 10}],
        output={"format": "webp"},
    )
    result = system.result_image(system.wait_until_final(task_id))
    assert (result.format, result.size) == ("WEBP", (10, 20))


def test_the_result_route_redirects_to_the_result(
    system: DeployedSystem, source: FlowSource
) -> None:
    task = system.wait_until_final(system.submit(source.url(ok(png()))))
    url = system.client.result_url(task["taskId"])
    assert url is not None
    response = system.client.download(url)
    assert response.status == 200
    assert response.data == system.download_result(task)
