"""Limits of images that no setting changes. The worker enforces them; the API publishes them."""

from typing import Final

MAX_RESULT_PIXELS: Final = 50_000_000
"""Of the image after each operation."""
MAX_COMPUTED_PIXELS: Final = 150_000_000
"""Of the images after all operations together: three operations at the full size of the largest
image. Without this limit, a file of 70 bytes could ask for ten enlargements to 50 megapixels. Three
of a transparent image take 5 s of CPU time on an x86 core of 2026."""
MAX_RESULT_BYTES: Final = 64 * 1024**2
