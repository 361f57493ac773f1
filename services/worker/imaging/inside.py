"""What runs inside an imaging child: confine oneself, then one image after the other."""

import faulthandler
import importlib
import json
import os
import socket
import traceback
from collections.abc import Callable

from services.common.errors import ImageError, ImageTooComplex, ImagingCrashed
from services.worker.imaging import sandbox, wire
from services.worker.imaging.limits import ImagingLimits
from services.worker.imaging.wire import Frame
from services.worker.imaging.work import Prepare, Work


def main(descriptor: str, limits_json: str, work: str) -> None:
    """Confine this process, then serve the socket that is open as ``descriptor``.

    ``work`` names a ``Prepare`` as ``module:function``.
    """
    connection = socket.socket(fileno=int(descriptor))
    limits = ImagingLimits(**json.loads(limits_json))
    faulthandler.enable()  # a decoder's crash leaves the Python stack in the parent's log
    module, _, function = work.partition(":")
    prepare: Prepare = getattr(importlib.import_module(module), function)
    prepared = prepare(limits)
    sandbox.confine(memory_bytes=limits.memory_bytes)
    wire.send(connection, Frame({"ready": True}))
    serve(connection, prepared, before_each=lambda: sandbox.allow_cpu_time(limits.timeout_s))


def serve(connection: socket.socket, work: Work, *, before_each: Callable[[], None]) -> None:
    """Answer requests until the parent closes the connection."""
    while True:
        try:
            request, descriptor = wire.receive_with_file(connection)
        except wire.WireClosed:
            return
        before_each()
        wire.send(connection, _answer(request, descriptor, work))


def _answer(request: Frame, descriptor: int, work: Work) -> Frame:
    try:
        content = _read_all(descriptor)
        image = work(content, request.head["operations"], request.head["output"])
    except ImageError as error:
        return _failure(error.code, str(error), error)
    except MemoryError as error:
        traceback.clear_frames(error.__traceback__)  # lets go of the pixels
        reason = "The image needs more memory than one task may use."
        return _failure(ImageTooComplex.code, reason, error)
    except Exception as bug:  # noqa: BLE001 - the outermost loop of this process
        return _failure(ImagingCrashed.code, "Taskfleet met an unexpected error.", bug)
    return Frame(
        {
            "contentType": image.content_type,
            "width": image.width,
            "height": image.height,
        },
        image.body,
    )


def _failure(code: str, reason: str, error: BaseException) -> Frame:
    trace = "".join(traceback.format_exception(error))[-wire.MAX_TRACEBACK_CHARS :]
    return Frame({"code": code, "reason": reason, "traceback": trace})


def _read_all(descriptor: int) -> bytes:
    """Read without asking for the file's size: not even that call is needed in the sandbox."""
    pieces = []
    try:
        while piece := os.read(descriptor, 1024**2):
            pieces.append(piece)
    finally:
        os.close(descriptor)
    return b"".join(pieces)
