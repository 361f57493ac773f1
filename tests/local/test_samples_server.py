"""The sample images as a browser and as the worker see them."""

import urllib.request
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from PIL import Image

from local.options import SAMPLES
from local.ports import HOST, free_port_pair
from local.samples_server import SamplesServer, create_samples_app, images_in


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("L", (2, 1)).save(tmp_path / "one & <b>.PNG", format="PNG")
    (tmp_path / "notes.txt").write_text("private")
    (tmp_path / ".env").write_text("private")
    (tmp_path / "more").mkdir()
    return tmp_path


@pytest.fixture
def browser(folder: Path) -> FlaskClient:
    return create_samples_app(folder).test_client()


def test_the_index_lists_every_image_by_an_address_that_serves_it(browser: FlaskClient) -> None:
    page = browser.get("/")
    assert page.content_type == "text/html; charset=utf-8"
    assert "http://localhost/one%20&amp;%20%3Cb%3E.PNG" in page.text
    assert "notes.txt" not in page.text
    with browser.get("/one%20&%20%3Cb%3E.PNG") as image:
        assert (image.status_code, image.content_type) == (200, "image/png")


@pytest.mark.parametrize(
    "path", ["/notes.txt", "/.env", "/more", "/none.png", "/../secret.png", "/%2e%2e/secret.png"]
)
def test_nothing_but_the_folder_s_images_is_served(
    browser: FlaskClient, folder: Path, path: str
) -> None:
    (folder.parent / "secret.png").write_bytes(b"private")
    assert browser.get(path).status_code == 404


def test_an_image_that_is_added_later_appears(browser: FlaskClient, folder: Path) -> None:
    Image.new("L", (2, 1)).save(folder / "later.jpg")
    assert "later.jpg" in browser.get("/").text
    with browser.get("/later.jpg") as image:
        assert image.content_type == "image/jpeg"


def test_a_broken_link_or_a_folder_with_an_image_s_name_is_no_image(folder: Path) -> None:
    (folder / "folder.png").mkdir()
    (folder / "link.png").symlink_to(folder / "gone.png")
    assert images_in(folder) == ["one & <b>.PNG"]


def test_every_photograph_of_the_project_is_served_as_what_it_is() -> None:
    port = free_port_pair()
    with SamplesServer(SAMPLES, host=HOST, port=port):
        for name in images_in(SAMPLES):
            with urllib.request.urlopen(f"http://{HOST}:{port}/{name}") as answer:
                image = Image.open(answer)
                assert answer.headers["Content-Type"] == image.get_format_mimetype()
    assert len(images_in(SAMPLES)) >= 5
