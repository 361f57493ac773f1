"""The exception that ends a rehearsal."""


class RehearsalFailed(Exception):
    """A check or command failed. `details` are lines that help to find the cause."""

    def __init__(self, message: str, *, details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.details = details
