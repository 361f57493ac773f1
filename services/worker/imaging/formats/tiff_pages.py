"""Choosing a page of a TIFF: a full-resolution image, never a thumbnail or camera raw."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from services.common.errors import ImageFormatNotSupported, PageNotFound
from services.worker.imaging.formats.tiff_directory import (
    Directory,
    MalformedTiff,
    read_at,
    read_chain,
)
from services.worker.imaging.formats.tiff_layout import BLACK_IS_ZERO, UNCOMPRESSED, Tag

_MAX_PAGES: Final = 10_000
_MAX_SUB_IFDS: Final = 16

_REDUCED_OR_MASK: Final = 0b101
"""NewSubfileType: bit 0 marks a smaller version of another image, bit 2 a transparency mask."""
_REDUCED: Final = 2
"""SubfileType of a smaller version."""

_RAW_COMPRESSIONS: Final = frozenset({32767, 32769, 32770, 34713, 65000, 65535})
"""Sony, packed, Samsung, Nikon, Kodak and Pentax."""
_RAW_COLORS: Final = frozenset({32803, 34892})
"""A color filter array, and linear raw."""
_CANON_RAW: Final = b"CR"
"""At offset 8 of a CR2 file."""
_MAX_MAKE: Final = 40


def choose_page(content: bytes, page: int) -> Directory:
    """The directory of a full-resolution image. Raises ``MalformedTiff`` if the first is broken."""
    every = list(_readable(_directories(content)))
    if not every:
        raise MalformedTiff("The first directory is broken.")
    _refuse_camera_raw(content, every)
    # A thumbnail has its image in a SubIFD, an image its thumbnails.
    pages = [
        each.directory
        for each in every
        if not each.is_reduced and (each.parent is None or each.parent.is_reduced)
    ]
    pages = pages or [each.directory for each in every]
    if page > len(pages):
        raise PageNotFound(f"The TIFF has {len(pages)} pages.")
    return pages[page - 1]


@dataclass(frozen=True, slots=True)
class _Page:
    directory: Directory
    is_reduced: bool
    """It is a smaller version of another image, or a mask."""
    parent: "_Page | None" = None


def _readable(pages: Iterator[_Page]) -> Iterator[_Page]:
    """The pages before the first broken one."""
    try:
        yield from pages
    except MalformedTiff:
        return


def _directories(content: bytes) -> Iterator[_Page]:
    """Those of the main chain, each followed by its SubIFDs."""
    for directory in read_chain(content, limit=_MAX_PAGES):
        page = _Page(directory, _is_reduced(directory))
        yield page
        for offset in directory.integers(Tag.SUB_IFDS)[:_MAX_SUB_IFDS]:
            sub_directory = read_at(content, offset)
            yield _Page(sub_directory, _is_reduced(sub_directory), page)


def _is_reduced(directory: Directory) -> bool:
    return bool(
        directory.integer(Tag.NEW_SUBFILE_TYPE, 0) & _REDUCED_OR_MASK
        or directory.integer(Tag.SUBFILE_TYPE, 0) == _REDUCED
    )


def _refuse_camera_raw(content: bytes, pages: Sequence[_Page]) -> None:
    first = pages[0].directory
    if Tag.DNG_VERSION in first:
        raise _camera_raw("DNG")
    if content[8:10] == _CANON_RAW:
        raise _camera_raw("Canon CR2")
    if any(_has_sensor_data(page.directory) for page in pages):
        make = first.bytes_of(Tag.MAKE).decode("ascii", "replace").strip("\0 ")
        raise _camera_raw("".join(filter(str.isprintable, make))[:_MAX_MAKE] or "sensor data")


def _has_sensor_data(directory: Directory) -> bool:
    return (
        directory.integer(Tag.COMPRESSION, UNCOMPRESSED) in _RAW_COMPRESSIONS
        or directory.integer(Tag.PHOTOMETRIC, BLACK_IS_ZERO) in _RAW_COLORS
    )


def _camera_raw(kind: str) -> ImageFormatNotSupported:
    return ImageFormatNotSupported(
        f"The image is camera raw ({kind}), which is not supported. Send a JPEG or TIFF made of it."
    )
