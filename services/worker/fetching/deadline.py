"""One point in time that everything a piece of work does together has to meet."""

from collections.abc import Callable


class Deadline:
    """``seconds`` from now by ``clock``, which has to be monotonic."""

    def __init__(self, seconds: float, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._at = clock() + seconds

    def remaining_s(self) -> float:
        """Seconds left, always above zero; TimeoutError when the deadline has passed."""
        remaining = self._at - self._clock()
        if remaining <= 0:
            raise TimeoutError("The deadline has passed.")
        return remaining
