"""SIGTERM and SIGINT, from the moment the process can handle them."""

import os
import signal
import time
from collections.abc import Callable


class StopSignal:
    """Handles SIGTERM and SIGINT from its creation on. Only the first signal counts."""

    def __init__(self) -> None:
        self._received_at: float | None = None
        self._on_receipt: Callable[[], None] = lambda: None
        self._descriptor, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._receive)
        signal.signal(signal.SIGINT, self._receive)

    def on_receipt(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the signal arrives, or now if it has arrived already."""
        self._on_receipt = callback
        if self.is_received():
            callback()

    def fileno(self) -> int:
        """Becomes readable when a signal has arrived, so that ``select`` returns."""
        return self._descriptor

    def is_received(self) -> bool:
        return self._received_at is not None

    def age_s(self) -> float:
        """Seconds since the signal, or 0 if none has arrived."""
        return 0.0 if self._received_at is None else time.monotonic() - self._received_at

    def _receive(self, _signal: int, _frame: object) -> None:
        self._received_at = self._received_at or time.monotonic()
        self._on_receipt()
