"""A deadline that several steps share."""

from collections.abc import Callable


class Deadline:
    """Passes in ``seconds`` by ``clock``, which must be monotonic."""

    def __init__(self, seconds: float, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._at = clock() + seconds

    def remaining_s(self) -> float:
        """The remaining seconds, always above 0. Raises TimeoutError after the deadline."""
        remaining = self._at - self._clock()
        if remaining <= 0:
            raise TimeoutError("The deadline has passed.")
        return remaining
