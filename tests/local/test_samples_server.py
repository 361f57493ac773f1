"""The samples server: its index page and the images."""

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


def test_the_index_links_every_image(browser: FlaskClient) -> None:
    page = browser.get("/")
    assert page.content_type == "text/html; charset=utf-8"
    assert "http://localhost/one%20&amp;%20%3Cb%3E.PNG" in page.text
    assert "notes.txt" not in page.text
    with browser.get("/one%20&%20%3Cb%3E.PNG") as image:
        assert (image.status_code, image.content_type) == (200, "image/png")


@pytest.mark.parametrize(
    "path", ["/notes.txt", "/.env", "/more", "/none.png", "/../secret.png", "/%2e%2e/secret.png"]
)
def test_only_images_of_the_folder_are_served(
    browser: FlaskClient, folder: Path, path: str
) -> None:
    (folder.parent / "secret.png").write_bytes(b"private")
    assert browser.get(path).status_code == 404


def test_an_image_added_later_is_served(browser: FlaskClient, folder: Path) -> None:
    Image.new("L", (2, 1)).save(folder / "later.jpg")
    assert "later.jpg" in browser.get("/").text
    with browser.get("/later.jpg") as image:
        assert image.content_type == "image/jpeg"


def test_broken_links_and_folders_are_not_images(folder: Path) -> None:
    (folder / "folder.png").mkdir()
    (folder / "link.png").symlink_to(folder / "missing.png")
    assert images_in(folder) == ["one & <b>.PNG"]


def test_every_sample_photograph_is_served_with_its_content_type() -> None:
    port = free_port_pair()
    with SamplesServer(SAMPLES, host=HOST, port=port):
        for name in images_in(SAMPLES):
            with urllib.request.urlopen(f"http://{HOST}:{port}/{name}") as response:
                image = Image.open(response)
                assert response.headers["Content-Type"] == image.get_format_mimetype()
    assert len(images_in(SAMPLES)) >= 5
