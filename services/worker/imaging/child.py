"""One imaging child, as its parent sees it."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from services.common.errors import (
    ImageError,
    ImageTooComplex,
    ImagingCrashed,
    ImagingTimeout,
)
from services.common.operations import CONTENT_TYPES
from services.worker.imaging import sandbox, wire
from services.worker.imaging.limits import ImagingLimits
from services.worker.imaging.wire import Frame, WireClosed, WireGarbled
from services.worker.imaging.work import ResultImage

_PROJECT: Final = Path(__file__).parents[3]

_MAIN: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from services.worker.imaging.inside import main; main(*sys.argv[2:])"
)

_ERRORS: Final = {error.code: error for error in ImageError.__subclasses__()}

MAX_REASON_CHARS: Final = 500
"""A row and a client's terminal have to take it, whoever wrote it."""

_LAST_WORDS_BYTES: Final = 65_536
"""What a pipe holds on Linux."""


class ChildGone(Exception):
    """The child ended before it took what it was given."""


class ImagingChild:
    """A process with an empty environment that does one image at a time. Not thread-safe.

    It is a new interpreter and not a fork of this one: a fork of a process with threads may hang,
    and would have the parent's memory, credentials included.
    """

    def __init__(self, *, limits: ImagingLimits, work: str) -> None:
        """Starts it and does not wait for it. Raises ``OSError``."""
        self._limits = limits
        self._ready = False
        self._connection, theirs = socket.socketpair()
        self._stderr, their_stderr = os.pipe()
        os.set_blocking(self._stderr, False)
        os.set_blocking(their_stderr, False)  # a full pipe must not stop the child
        command = [
            sys.executable,
            "-I",  # neither the environment nor the current folder has a say in what is run
            "-c",
            _MAIN,
            str(_PROJECT),
            str(theirs.fileno()),
            json.dumps(dataclasses.asdict(limits)),
            work,
        ]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
                command,
                env={},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=their_stderr,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the parent, which drains first
            )
        except OSError:
            self._close_connections()
            raise
        finally:
            theirs.close()
            os.close(their_stderr)

    def wait_until_ready(self, *, deadline: float) -> None:
        """Until everything is loaded and every fence is up. Raises ``ImagingCrashed``, with the
        child's last words as a note, or ``ImagingTimeout``."""
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
        operations: Sequence[Mapping[str, Any]],
        output: Mapping[str, Any] | None,
        *,
        deadline: float,
    ) -> ResultImage:
        """The result for the file open as ``source``. ``deadline`` is on the monotonic clock.

        Raises ``ChildGone``, after which the image may be given to another child, or
        ``ImageError``.
        """
        request = Frame({"operations": list(operations), "output": output})
        self.wait_until_ready(deadline=deadline)
        self._last_words()  # what a decoder said of an earlier image is not about this one
        try:
            wire.send_with_file(self._connection, request, source, deadline=deadline)
            reply = self._receive(deadline)
        except ConnectionError as gone:
            # Also of a reply: Linux resets a connection whose end is closed with unread data.
            self.close()
            raise ChildGone from gone
        except TimeoutError as late:
            raise self._timeout() from late
        if "code" in reply.head:
            raise _error(reply.head)
        try:
            return _image(reply)
        except WireGarbled as garbled:
            raise self._crash("talked nonsense") from garbled

    def kill(self) -> None:
        """End it at once, whatever it does. From any thread; ``close`` has to follow."""
        self._process.kill()

    def close(self) -> None:
        """End it and let go of everything. May be called again."""
        self._process.kill()
        self._process.wait()
        self._close_connections()

    def _receive(self, deadline: float) -> Frame:
        try:
            return wire.receive(
                self._connection, max_body_bytes=self._limits.max_result_bytes, deadline=deadline
            )
        except WireClosed as closed:
            raise self._death() from closed
        except WireGarbled as garbled:
            raise self._crash("talked nonsense") from garbled

    def _timeout(self) -> ImagingTimeout:
        self.close()
        return ImagingTimeout(
            "The image was not done in time, although it had not used up its CPU time."
        )

    def _death(self) -> ImageError:
        self._process.kill()  # in case it only closed the connection; changes nothing if dead
        status = self._process.wait()
        if status == -sandbox.CPU_TIME_SIGNAL:
            self.close()
            return ImageTooComplex(
                f"The image needs more than {self._limits.timeout_s:g} s of CPU time."
            )
        return self._crash(
            f"was killed: {signal.strsignal(-status)}" if status < 0 else f"exited with {status}"
        )

    def _crash(self, how: str) -> ImagingCrashed:
        crash = ImagingCrashed(f"The process that worked on the image {how}.")
        last_words = self._last_words()
        self.close()
        if last_words:
            crash.add_note(f"Its last words:\n{last_words}")
        return crash

    def _last_words(self) -> str:
        try:
            return os.read(self._stderr, _LAST_WORDS_BYTES).decode(errors="replace")
        except BlockingIOError:
            return ""

    def _close_connections(self) -> None:
        if self._connection.fileno() != -1:
            self._connection.close()
            os.close(self._stderr)


def _error(head: Mapping[str, Any]) -> ImageError:
    """What the child says went wrong, with its traceback as a note."""
    reason = "".join(filter(str.isprintable, str(head.get("reason"))))[:MAX_REASON_CHARS]
    error = _ERRORS.get(str(head["code"]), ImagingCrashed)(reason)
    trace = str(head.get("traceback"))[-wire.MAX_TRACEBACK_CHARS :]
    error.add_note(f"In the imaging child:\n{trace}")
    return error


def _image(reply: Frame) -> ResultImage:
    match reply.head:
        case {"contentType": str(content_type), "width": int(width), "height": int(height)}:
            if content_type in CONTENT_TYPES.values() and width > 0 and height > 0 and reply.body:
                return ResultImage(reply.body, content_type, width, height)
    raise WireGarbled("neither an image nor an error")
