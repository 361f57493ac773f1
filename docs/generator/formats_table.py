"""The layouts of images that are decoded, as Markdown tables."""

from collections.abc import Iterator
from typing import Final

from docs.generator.markdown import markdown_table
from services.common.operations import FORMATS
from services.worker.imaging.formats.layouts import SUPPORTED, Layout

_ORDER: Final = ("gray", "palette", "RGB", "color", "YCbCr", "CMYK", "YCCK", "CIELAB")


def formats_tables() -> str:
    """For each format, which samples and storages each kind of channels may have."""
    header = ["channels", "samples", "storage"]
    return "\n\n".join(
        f"### {name.upper()}\n\n{markdown_table(header, _rows(SUPPORTED[name]))}"
        for name in FORMATS
    )


def _rows(layouts: frozenset[Layout]) -> Iterator[list[str]]:
    """One row for all combinations of some samples and storages."""
    for channels in sorted({layout.channels for layout in layouts}, key=_rank):
        storages: dict[frozenset[str], set[str]] = {}
        for samples in {each.samples for each in layouts if each.channels == channels}:
            stored = frozenset(each.storage for each in layouts if each[:2] == (channels, samples))
            storages.setdefault(stored, set()).add(samples)
        for stored, kinds in sorted(storages.items(), key=lambda item: min(map(_bits, item[1]))):
            yield [channels, ", ".join(sorted(kinds, key=_bits)), ", ".join(sorted(stored))]


def _rank(channels: str) -> tuple[int, str]:
    return _ORDER.index(channels.partition(" ")[0]), channels


def _bits(samples: str) -> tuple[str, int]:
    """By type, then by number of bits."""
    bits, _, kind = samples.partition("-bit")
    return kind, int(bits)
