"""Time limits that hold for whole calls, whatever the other side sends or does not send."""

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeVar

Answer = TypeVar("Answer")


class Deadline:
    """Passes in `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def remaining_s(self) -> float:
        """The remaining seconds; 0 after the deadline."""
        return max(0.0, self._at - time.monotonic())

    def call(self, function: Callable[[], Answer]) -> Answer:
        """The answer of `function`. Raises TimeoutError at the deadline, or the function's error.

        Timeouts of sockets limit each read, so a server that sends a byte now and then could hold a
        call for hours. The function therefore runs in a thread, which is left alone at the
        deadline and does not keep the process alive.
        """
        if not self.remaining_s():
            raise TimeoutError
        outcome: SimpleQueue[tuple[Answer | None, BaseException | None]] = SimpleQueue()

        def run() -> None:
            try:
                outcome.put((function(), None))
            except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
                outcome.put((None, error))

        threading.Thread(target=run, name="taskfleet-call", daemon=True).start()
        try:
            answer, error = outcome.get(timeout=self.remaining_s())
        except Empty:
            raise TimeoutError from None
        if error is not None:
            raise error
        return answer  # type: ignore[return-value] # None only if the function returns it
