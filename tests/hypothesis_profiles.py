"""Hypothesis profiles for the model, for example ``pytest --hypothesis-profile=nightly``."""

from hypothesis import Phase, settings


def register() -> None:
    settings.register_profile(
        "fast", max_examples=120, stateful_step_count=60, deadline=None, derandomize=True
    )
    settings.register_profile(
        "nightly", max_examples=2_000, stateful_step_count=100, deadline=None, print_blob=True
    )
    # Reports a failure without searching for its shortest example.
    settings.register_profile(
        "unshrunk",
        settings.get_profile("fast"),
        max_examples=300,
        phases=[Phase.explicit, Phase.generate],
    )
