"""Images, done where they can hurt nobody.

The way of an image: ``pool`` finds a free child, ``child`` gives it the open file over ``wire``;
``inside`` the child, fenced in by ``sandbox`` and ``seccomp``, ``image`` does the work: it lets
``sniff`` say what the file is, ``decode`` open it (with ``color`` and ``scans``), the operations
change it and ``encode`` write it. The result comes back over ``wire``.

Pillow is loaded in the children only.
"""

from services.worker.imaging.limits import ImagingLimits
from services.worker.imaging.pool import ImagingPool
from services.worker.imaging.work import ResultImage

__all__ = ["ImagingLimits", "ImagingPool", "ResultImage"]
