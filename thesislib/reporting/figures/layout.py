"""Whether a figure can be read: no text lies on another, and none is cut off."""

import itertools
from typing import Any

from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

_TOUCH = 0.2  # share of a text's height by which boxes of two may overlap: they hold empty space


def problems(figure: Figure) -> list[str]:
    """What is wrong with the texts of a figure, in words.

    Texts on photos, which stand where faces are, may lie on each other.

    Args:
        figure: drawn here, as it would be saved.
    """
    placed = [(text, box) for text, box in _placed(figure) if text.get_text().strip()]
    page = figure.bbox.padded(1)  # a pixel for rounding
    found = [
        f"{text.get_text()!r} is cut off"
        for text, box in placed
        if not (page.contains(box.x0, box.y0) and page.contains(box.x1, box.y1))
    ]
    apart = [
        (text, box)
        for text, box in placed
        if text.get_rotation() % 90 == 0 and not (text.axes and text.axes.images)
    ]
    for (one, a), (other, b) in itertools.combinations(apart, 2):
        shared = Bbox.intersection(a, b)
        least = _TOUCH * min(a.height, a.width, b.height, b.width)
        if shared is not None and min(shared.width, shared.height) > least:
            found.append(f"{one.get_text()!r} lies on {other.get_text()!r}")
    return found


def _placed(figure: Figure) -> list[tuple[Text, Bbox]]:
    """The texts that are drawn, and where: ticks out of an axis' range are not."""
    drawn: list[tuple[Text, Bbox]] = []
    draw = Text.draw

    def noted(self: Text, renderer: Any) -> None:
        if self.get_visible():
            drawn.append((self, self.get_window_extent(renderer)))
        draw(self, renderer)

    Text.draw = noted  # type: ignore[assignment, method-assign]
    try:
        figure.canvas.draw()
    finally:
        Text.draw = draw  # type: ignore[method-assign]
    return drawn
