"""GIF: decoding one frame as browsers show it, on a transparent canvas.

Pillow decodes each frame by itself. Given the whole file, it would fill what a first frame leaves
free of the canvas with a color.
"""

from io import BytesIO
from itertools import islice

from PIL import GifImagePlugin, Image

from services.common.errors import ImageDamaged, ImageFormatNotSupported, PageNotFound
from services.common.operations import Size
from services.worker.imaging.formats import gif_blocks
from services.worker.imaging.formats.gif_blocks import Frame
from services.worker.imaging.formats.layouts import Layout, require_supported
from services.worker.imaging.formats.source_image import (
    DECODER_ERRORS,
    Decoded,
    DecodeOptions,
    SourceImage,
    rows_missing,
)


class GifImage(SourceImage):
    """One frame of a GIF, drawn over those before it."""

    def __init__(self, content: bytes, *, page: int) -> None:
        self._frames = list(islice(gif_blocks.read_frames(content), page))
        if not self._frames:
            raise ImageDamaged("The GIF has no frame, or its header is damaged.")
        if len(self._frames) < page:
            raise PageNotFound(f"The GIF has {len(self._frames)} frames.")
        self.size = _canvas_size(gif_blocks.read_screen_size(content), self._frames[0])
        for frame in self._frames:
            require_supported("gif", _layout(frame))
            if frame.size[0] > self.size[0] or frame.size[1] > self.size[1]:
                raise ImageDamaged("A frame of the GIF is larger than the image.")

    def decode(self, options: DecodeOptions) -> Decoded:
        *earlier, last = self._frames
        if not earlier and last.transparent is None and _box(last) == (0, 0, *self.size):
            return _decoded(last, options)
        canvas = Image.new("RGBA", self.size)
        for frame in earlier:
            before = canvas.copy() if frame.disposal == gif_blocks.RESTORE_PREVIOUS else canvas
            _draw(canvas, frame, options)
            if frame.disposal == gif_blocks.RESTORE_BACKGROUND:
                canvas.paste((0, 0, 0, 0), _box(frame))
            canvas = before
        return Decoded(canvas, _draw(canvas, last, options))


def _draw(canvas: Image.Image, frame: Frame, options: DecodeOptions) -> str | None:
    """Draw a frame and return what is missing of it."""
    if 0 in frame.size:
        return None
    image, damage = _decoded(frame, options)
    opaque = None
    if frame.transparent is not None:
        opaque = image.point([0 if i == frame.transparent else 255 for i in range(256)], "L")
    canvas.paste(image.convert("RGB"), _box(frame), opaque)
    return damage


def _box(frame: Frame) -> tuple[int, int, int, int]:
    return frame.left, frame.top, frame.left + frame.size[0], frame.top + frame.size[1]


def _decoded(frame: Frame, options: DecodeOptions) -> Decoded:
    """The frame in mode P, or in mode L if its colors are all grays in order."""
    image = GifImagePlugin.GifImageFile(BytesIO(gif_blocks.as_gif(frame)))
    try:
        image.load()
    except DECODER_ERRORS as damaged:
        width, height = frame.size
        damage = rows_missing(gif_blocks.count_pixels(frame) // width, height)
        if not options.keep_damaged:
            raise ImageDamaged(damage) from damaged
        image.tile = []  # what has been decoded counts
        return Decoded(image, damage)
    return Decoded(image)


def _canvas_size(screen: Size, first: Frame) -> Size:
    """Like browsers, enlarge the canvas if the first frame does not fit."""
    _, _, right, bottom = _box(first)
    if 0 in screen:
        return max(right, 1), max(bottom, 1)
    return max(screen[0], right), max(screen[1], bottom)


def _layout(frame: Frame) -> Layout:
    if not frame.palette:
        raise ImageFormatNotSupported("The image is a GIF without a color table.")
    channels = "palette" if frame.transparent is None else "palette + key"
    return Layout(channels, "8-bit", "interlaced" if frame.is_interlaced else "plain")
