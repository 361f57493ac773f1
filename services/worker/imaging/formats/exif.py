"""Reading the orientation from EXIF, which is a TIFF directory."""

from typing import Final

from services.worker.imaging.formats.tiff_directory import MalformedTiff, read_chain

ORIENTATION_TAG: Final = 0x0112
ORIENTATIONS: Final = range(1, 9)
UPRIGHT: Final = 1

_PREFIX: Final = b"Exif\0\0"


def orientation_in(exif: bytes) -> int:
    """The orientation by EXIF, or upright: like browsers, ignore metadata that is damaged."""
    try:
        for directory in read_chain(exif.removeprefix(_PREFIX), limit=1):
            orientation = directory.integer(ORIENTATION_TAG, UPRIGHT)
            return orientation if orientation in ORIENTATIONS else UPRIGHT
    except MalformedTiff:
        pass
    return UPRIGHT
