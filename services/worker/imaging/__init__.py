"""Image processing in sandboxed child processes.

``pool`` picks an idle child, and ``child_process`` sends it the open file over ``protocol``. In the
child, ``child_main`` confines the process with ``sandbox`` and ``seccomp`` and calls ``pipeline``:
``format_detection`` identifies the format, ``decode`` reads the image (with ``formats``, ``color``
and ``icc``), the operations change it, and ``encode`` writes the result. The result returns over
``protocol``.

Only the children load Pillow.
"""

from services.worker.imaging.handler import ResultImage
from services.worker.imaging.limits import ImagingLimits
from services.worker.imaging.pool import ImagingPool

__all__ = ["ImagingLimits", "ImagingPool", "ResultImage"]
