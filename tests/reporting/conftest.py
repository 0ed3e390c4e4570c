"""What the tests of figures share: a figure holds all of its text."""

import matplotlib.pyplot as plt
import pytest
from matplotlib.text import Text


def text_outside(figure):
    """Texts that are drawn, wholly or in part, outside the figure."""
    drawn = []
    draw = Text.draw

    def noted(self, renderer):
        if self.get_visible() and self.get_text().strip():
            drawn.append((self, self.get_window_extent(renderer)))
        draw(self, renderer)

    Text.draw = noted
    try:
        figure.canvas.draw()
    finally:
        Text.draw = draw
    page = figure.bbox.padded(1)  # a pixel for rounding
    return [
        text.get_text()
        for text, box in drawn
        if not (page.contains(box.x0, box.y0) and page.contains(box.x1, box.y1))
    ]


@pytest.fixture(autouse=True)
def no_text_outside():
    """Each figure that a test draws is looked at when the test is done, and closed."""
    yield
    try:
        outside = [
            text for number in plt.get_fignums() for text in text_outside(plt.figure(number))
        ]
    finally:
        plt.close("all")
    assert not outside
