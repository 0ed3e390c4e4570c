"""The scheme of the joint network names every shape, where it can be read."""

import pytest

from thesislib.reporting.figures import scheme


@pytest.mark.parametrize("cell", [32, 64])
def test_network_scheme_names_every_shape(cell):
    figure = scheme.network_scheme(320, "resnet50", 5, cell, 3, 512, 285)
    text = "\n".join(text.get_text() for text in figure.axes[0].texts)
    shapes = ("320 × 320 × 3", "5 × 5 × 2048", "5 × 5 × (3 · 5)", "75 × 5")
    for shape in (*shapes, "5 × 5 × (3 · 512)", "5 × 5 × (3 · 285)"):
        assert shape in text
    assert ("2 × 2 pooling" in text) == (cell == 64)
    assert "ResNet\n50" in text


def test_no_two_texts_of_the_scheme_overlap():
    figure = scheme.network_scheme(320, "resnet34", 5, 64, 3, 512, 285)
    figure.canvas.draw()
    texts = [text for text in figure.axes[0].texts if text.get_text()]
    boxes = [text.get_window_extent() for text in texts]
    for at, box in enumerate(boxes):
        for other in range(at):
            assert not box.overlaps(boxes[other]), (texts[at], texts[other])
