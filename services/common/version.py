"""The version of Taskfleet, for the code in the container images, which lack pyproject.toml."""

VERSION = "0.1.0"
"""The same as in pyproject.toml; a test compares them."""
