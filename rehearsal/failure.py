"""What is not as it must be, in a sentence."""


class Failed(Exception):
    """Ends the rehearsal; `details` are lines that help to find out why."""

    def __init__(self, sentence: str, *, details: tuple[str, ...] = ()) -> None:
        super().__init__(sentence)
        self.details = details
