"""The main program of an imaging child: confine the process, then handle one image at a time."""

import faulthandler
import importlib
import json
import os
import socket
import traceback
from collections.abc import Callable

from services.common.errors import ImageError, ImageTooComplex, ImagingCrashed
from services.worker.imaging import protocol, sandbox
from services.worker.imaging.handler import HandlerLoader, ImageHandler
from services.worker.imaging.limits import ImagingLimits
from services.worker.imaging.protocol import Frame


def main(descriptor: str, limits_json: str, loader: str) -> None:
    """Confine this process, then serve requests on the socket that is open as ``descriptor``.

    ``loader`` names a ``HandlerLoader`` as ``module:function``.
    """
    connection = socket.socket(fileno=int(descriptor))
    limits = ImagingLimits(**json.loads(limits_json))
    faulthandler.enable()  # so that the parent can log the Python stack of a decoder crash
    module, _, function = loader.partition(":")
    load_handler: HandlerLoader = getattr(importlib.import_module(module), function)
    handler = load_handler(limits)
    sandbox.confine(memory_bytes=limits.memory_bytes)
    protocol.send(connection, Frame({"ready": True}))
    serve(connection, handler, before_each=lambda: sandbox.allow_cpu_time(limits.timeout_s))


def serve(
    connection: socket.socket, handler: ImageHandler, *, before_each: Callable[[], None]
) -> None:
    """Reply to requests until the parent closes the connection."""
    while True:
        try:
            request, descriptor = protocol.receive_with_file(connection)
        except protocol.ConnectionClosed:
            return
        before_each()
        protocol.send(connection, _reply(request, descriptor, handler))


def _reply(request: Frame, descriptor: int, handler: ImageHandler) -> Frame:
    try:
        content = _read_all(descriptor)
        image = handler(content, request.header["recipe"])
    except ImageError as error:
        return _error_reply(error.code, str(error), error)
    except MemoryError as error:
        traceback.clear_frames(error.__traceback__)  # frees the pixels
        reason = "The image needs more memory than one task may use."
        return _error_reply(ImageTooComplex.code, reason, error)
    except Exception as bug:  # noqa: BLE001 - the outermost loop of this process
        return _error_reply(ImagingCrashed.code, "Taskfleet encountered an unexpected error.", bug)
    return Frame(
        {
            "contentType": image.content_type,
            "width": image.width,
            "height": image.height,
            "warnings": list(image.warnings),
        },
        image.body,
    )


def _error_reply(code: str, reason: str, error: BaseException) -> Frame:
    trace = "".join(traceback.format_exception(error))[-protocol.MAX_TRACEBACK_CHARS :]
    return Frame({"code": code, "reason": reason, "traceback": trace})


def _read_all(descriptor: int) -> bytes:
    """Read to the end without fstat, which the sandbox forbids."""
    chunks = []
    try:
        while chunk := os.read(descriptor, 1024**2):
            chunks.append(chunk)
    finally:
        os.close(descriptor)
    return b"".join(chunks)
