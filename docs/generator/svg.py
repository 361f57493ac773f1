"""Just enough SVG for boxes and arrows."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

FONT = "Helvetica, Arial, sans-serif"
LINE_HEIGHT = 15


class Picture:
    """Coordinates are pixels from the top left corner."""

    def __init__(self, width: int, height: int, *, title: str) -> None:
        self._root = Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "viewBox": f"0 0 {width} {height}",
                "width": str(width),
                "height": str(height),
                "font-family": FONT,
            },
        )
        SubElement(self._root, "title").text = title
        self._rect(0, 0, width, height, fill="#ffffff", stroke="none")

    def frame(self, x: int, y: int, width: int, height: int, label: str, *, fill: str) -> None:
        """An area that others lie in, with its name in the top left corner."""
        self._rect(x, y, width, height, fill=fill, stroke="#9aa5b1", dash="4 3")
        self.text(x + 10, y + 17, label, size=12, fill="#52606d")

    def box(
        self, x: int, y: int, width: int, height: int, lines: Sequence[str], *, stroke: str
    ) -> None:
        """A thing: the first line is its name, the others say what matters about it."""
        self._rect(x, y, width, height, fill="#ffffff", stroke=stroke, stroke_width=1.8)
        for number, line in enumerate(lines):
            bold = number == 0
            self.text(
                x + 12,
                y + 20 + number * LINE_HEIGHT,
                line,
                size=13 if bold else 11,
                bold=bold,
                fill="#1f2933" if bold else "#3e4c59",
            )

    def arrow(self, points: Sequence[tuple[int, int]], *, stroke: str) -> None:
        """A line through `points`, with its head at the last."""
        path = " ".join(f"{x},{y}" for x, y in points)
        SubElement(
            self._root,
            "polyline",
            {"points": path, "fill": "none", "stroke": stroke, "stroke-width": "1.6"},
        )
        (before_x, before_y), (x, y) = points[-2:]
        along = (_sign(x - before_x), _sign(y - before_y))
        across = (-along[1], along[0])
        head = [
            (x, y),
            *(
                (x - 8 * along[0] + side * across[0], y - 8 * along[1] + side * across[1])
                for side in (-4, 4)
            ),
        ]
        SubElement(
            self._root,
            "polygon",
            {"points": " ".join(f"{hx},{hy}" for hx, hy in head), "fill": stroke},
        )

    def text(
        self,
        x: int,
        y: int,
        words: str,
        *,
        size: int,
        fill: str,
        bold: bool = False,
        anchor: str = "start",
    ) -> None:
        attributes = {
            "x": str(x),
            "y": str(y),
            "font-size": str(size),
            "fill": fill,
            "text-anchor": anchor,
        }
        if bold:
            attributes["font-weight"] = "bold"
        SubElement(self._root, "text", attributes).text = words

    def __str__(self) -> str:
        indent(self._root)
        return tostring(self._root, encoding="unicode") + "\n"

    def _rect(
        self,
        x: int,
        y: int,
        width: int,
        height: int,
        *,
        fill: str,
        stroke: str,
        stroke_width: float = 1,
        dash: str = "none",
    ) -> None:
        SubElement(
            self._root,
            "rect",
            {
                "x": str(x),
                "y": str(y),
                "width": str(width),
                "height": str(height),
                "rx": "6",
                "fill": fill,
                "stroke": stroke,
                "stroke-width": str(stroke_width),
                "stroke-dasharray": dash,
            },
        )


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)
