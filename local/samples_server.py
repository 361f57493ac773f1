"""Serves a folder of images on the loopback interface, so that users can submit local images."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from flask import Flask, Response, abort, render_template, send_from_directory
from werkzeug.serving import make_server

CONTENT_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".avif": "image/avif",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".bmp": "image/bmp",
}
"""By suffix. Other files are not served, because the folder may contain private files."""


def images_in(folder: Path) -> Sequence[str]:
    """Names of the served images, sorted."""
    return sorted(
        path.name
        for path in folder.iterdir()
        if path.suffix.lower() in CONTENT_TYPES and path.is_file()
    )


def create_samples_app(folder: Path) -> Flask:
    app = Flask(__name__, static_folder=None)

    @app.get("/")
    def index() -> str:
        return render_template("samples.html", folder=folder, images=images_in(folder))

    @app.get("/<name>")
    def image(name: str) -> Response:
        content_type = CONTENT_TYPES.get(Path(name).suffix.lower())
        if content_type is None:
            abort(404)
        return send_from_directory(folder, name, mimetype=content_type)

    return app


class SamplesServer:
    """Runs inside a ``with`` block."""

    def __init__(self, folder: Path, *, host: str, port: int) -> None:
        self._server = make_server(host, port, create_samples_app(folder), threaded=True)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="samples", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
