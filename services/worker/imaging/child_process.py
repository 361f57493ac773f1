"""The parent's handle on one imaging child."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from services.common.errors import (
    ImageError,
    ImageTooComplex,
    ImagingCrashed,
    ImagingTimeout,
)
from services.common.operations import CONTENT_TYPES
from services.worker.imaging import protocol, sandbox
from services.worker.imaging.handler import ResultImage
from services.worker.imaging.limits import ImagingLimits
from services.worker.imaging.protocol import ConnectionClosed, Frame, ProtocolError

_PROJECT: Final = Path(__file__).parents[3]

_MAIN: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from services.worker.imaging.child_main import main; main(*sys.argv[2:])"
)

_ERRORS: Final = {error.code: error for error in ImageError.__subclasses__()}

MAX_REASON_CHARS: Final = 500
"""The reason and the warnings go into the row and to the client, and an attacker may have written
them."""
MAX_WARNINGS: Final = 10

_UTIME, _STIME = 11, 12
"""Positions in /proc/<pid>/stat after the name of the program (proc_pid_stat(5))."""

_STDERR_BYTES: Final = 65_536
"""The capacity of a pipe on Linux (pipe(7))."""


class ChildExited(Exception):
    """The child exited before it read the request."""


class ChildProcess:
    """A process with an empty environment that handles one image at a time. Not thread-safe.

    It is a new interpreter, not a fork of this one. A fork of a process with threads can hang, and
    it would copy the parent's memory, including credentials.
    """

    def __init__(self, *, limits: ImagingLimits, loader: str) -> None:
        """Start the process without waiting for it. Raises ``OSError``."""
        self._limits = limits
        self._ready = False
        self._connection, child_connection = socket.socketpair()
        self._stderr, child_stderr = os.pipe()
        os.set_blocking(self._stderr, False)
        os.set_blocking(child_stderr, False)  # a full pipe must not block the child
        command = [
            sys.executable,
            "-I",  # ignores the environment and the current folder
            "-c",
            _MAIN,
            str(_PROJECT),
            str(child_connection.fileno()),
            json.dumps(dataclasses.asdict(limits)),
            loader,
        ]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
                command,
                env={},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=child_stderr,
                pass_fds=[child_connection.fileno()],
                start_new_session=True,  # Ctrl-C reaches only the parent, which drains first
            )
        except OSError:
            self._close_descriptors()
            raise
        finally:
            child_connection.close()
            os.close(child_stderr)

    def wait_until_ready(self, *, deadline: float) -> None:
        """Wait until the handler is loaded and the process is confined.

        Raises ``ImagingTimeout``, or ``ImagingCrashed`` with the child's standard error as a note.
        """
        if self._ready:
            return
        try:
            self._receive(deadline)
        except TimeoutError as late:
            raise self._timeout() from late
        self._ready = True

    def process(
        self,
        source: int,
        recipe: Mapping[str, Any],
        *,
        deadline: float,
    ) -> ResultImage:
        """Return the result for the file that is open as descriptor ``source``.

        ``deadline`` is on the monotonic clock. Raises ``ImageError``, or ``ChildExited``, after
        which another child may try the image.
        """
        request = Frame({"recipe": dict(recipe)})
        self.wait_until_ready(deadline=deadline)
        self._read_stderr()  # discards what a decoder printed about an earlier image
        try:
            protocol.send_with_file(self._connection, request, source, deadline=deadline)
            reply = self._receive(deadline)
        except ConnectionError as exited:
            # Receiving raises it too: Linux resets a connection that is closed with unread data.
            self.close()
            raise ChildExited from exited
        except TimeoutError as late:
            raise self._timeout() from late
        if "code" in reply.header:
            raise _error_from(reply.header)
        try:
            return _result_from(reply)
        except ProtocolError as malformed:
            raise self._crash("sent a malformed reply") from malformed

    def cpu_s(self) -> float:
        """CPU time of the process, or 0 where there is no /proc or the process has ended."""
        try:
            stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        except OSError:
            return 0.0
        fields = stat.rpartition(")")[2].split()  # the name before it may contain spaces
        user, system = fields[_UTIME], fields[_STIME]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """Kill the process. Any thread may call this; ``close`` must follow."""
        self._process.kill()

    def close(self) -> None:
        """Kill the process and close its descriptors. Calling it again has no effect."""
        self._process.kill()
        self._process.wait()
        self._close_descriptors()

    def _receive(self, deadline: float) -> Frame:
        try:
            return protocol.receive(
                self._connection, max_body_bytes=self._limits.max_result_bytes, deadline=deadline
            )
        except ConnectionClosed as closed:
            raise self._exit_error() from closed
        except ProtocolError as malformed:
            raise self._crash("sent a malformed reply") from malformed

    def _timeout(self) -> ImagingTimeout:
        self.close()
        return ImagingTimeout(
            "The image was not processed in time, although it did not use up its CPU time."
        )

    def _exit_error(self) -> ImageError:
        self._process.kill()  # it may have closed the connection without exiting
        status = self._process.wait()
        if status == -sandbox.CPU_TIME_SIGNAL:
            self.close()
            return ImageTooComplex(
                f"The image needs more than {self._limits.timeout_s:g} s of CPU time."
            )
        if status < 0:
            return self._crash(f"was killed: {signal.strsignal(-status)}")
        return self._crash(f"exited with status {status}")

    def _crash(self, what_happened: str) -> ImagingCrashed:
        crash = ImagingCrashed(f"The process that handled the image {what_happened}.")
        stderr = self._read_stderr()
        self.close()
        if stderr:
            crash.add_note(f"Standard error of the imaging process:\n{stderr}")
        return crash

    def _read_stderr(self) -> str:
        try:
            return os.read(self._stderr, _STDERR_BYTES).decode(errors="replace")
        except BlockingIOError:
            return ""

    def _close_descriptors(self) -> None:
        if self._connection.fileno() != -1:
            self._connection.close()
            os.close(self._stderr)


def _error_from(header: Mapping[str, Any]) -> ImageError:
    """The error that the child reported, with the child's traceback as a note."""
    error = _ERRORS.get(str(header["code"]), ImagingCrashed)(_printable(header.get("reason")))
    trace = str(header.get("traceback"))[-protocol.MAX_TRACEBACK_CHARS :]
    error.add_note(f"In the imaging process:\n{trace}")
    return error


def _printable(text: object) -> str:
    return "".join(filter(str.isprintable, str(text)))[:MAX_REASON_CHARS]


def _result_from(reply: Frame) -> ResultImage:
    match reply.header:
        case {
            "contentType": str(content_type),
            "width": int(width),
            "height": int(height),
            "warnings": list(warnings),
        }:
            if content_type in CONTENT_TYPES.values() and width > 0 and height > 0 and reply.body:
                sentences = tuple(map(_printable, warnings[:MAX_WARNINGS]))
                return ResultImage(reply.body, content_type, width, height, sentences)
    raise ProtocolError("neither a result nor an error")
