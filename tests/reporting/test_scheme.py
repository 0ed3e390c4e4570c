"""The scheme of the joint network names every shape, where it can be read."""

import pytest
from matplotlib.patches import FancyBboxPatch

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


@pytest.mark.parametrize("asked", ["en", "ru"])
def test_no_two_texts_of_the_scheme_overlap(asked, monkeypatch):
    monkeypatch.setenv("FIGURES_LANGUAGE", asked)
    figure = scheme.network_scheme(320, "resnet34", 5, 64, 3, 512, 285)
    texts = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert ("карта признаков" in texts) == (asked == "ru")
    figure.canvas.draw()
    texts = [text for text in figure.axes[0].texts if text.get_text()]
    boxes = [text.get_window_extent() for text in texts]
    for at, box in enumerate(boxes):
        for other in range(at):
            assert not box.overlaps(boxes[other]), (texts[at], texts[other])


@pytest.mark.parametrize("asked", ["en", "ru"])
def test_words_of_a_block_lie_within_it(asked, monkeypatch):
    monkeypatch.setenv("FIGURES_LANGUAGE", asked)
    figure = scheme.network_scheme(320, "resnet34", 5, 64, 3, 512, 285)
    figure.canvas.draw()
    blocks = [one for one in figure.axes[0].patches if isinstance(one, FancyBboxPatch)]
    assert len(blocks) == 5
    for block in blocks:
        frame = block.get_window_extent()
        within = [
            text
            for text in figure.axes[0].texts
            if text.get_text() and frame.contains(*text.get_window_extent().get_points().mean(0))
        ]
        assert len(within) == 1
        box = within[0].get_window_extent()
        assert frame.x0 < box.x0 and box.x1 < frame.x1, within[0]
