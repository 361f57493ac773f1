"""The version of Taskfleet, for the code in the container images, which lack pyproject.toml."""

VERSION = "0.1.0"
"""The same as in pyproject.toml; a test compares them."""

PROJECT_PAGE = "https://github.com/taskfleet/taskfleet"
"""Where the operators of image servers read what Taskfleet is, unless a setting names a contact."""
