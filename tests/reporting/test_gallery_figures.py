"""Figures of a gallery show what is in their tables."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from thesislib.reporting.draw import jpeg
from thesislib.reporting.figures.gallery import face_sizes, threshold_costs


def test_errors_stand_over_the_threshold():
    errors = pd.DataFrame(
        {"threshold": [0.9, 0.95, 1.0], "fpir": [0.5, 0.1, np.nan], "fnir": [0.0, 0.1, 0.9]}
    )
    (axis,) = threshold_costs(errors, 0.95).axes
    fpir, fnir, line = axis.get_lines()
    assert fpir.get_ydata()[:2] == pytest.approx([50, 10])
    assert fnir.get_ydata() == pytest.approx([0, 10, 90])
    assert list(line.get_xdata()) == [0.95, 0.95] and line.get_label() == "the gallery's threshold"
    assert axis.get_ylabel() == "errors, %"
    with pytest.raises(ValueError, match="errors: no rows"):
        threshold_costs(errors[:0], 0.9)


def sizes():
    rows = [
        (size, reading, measure, value, value - 0.05, value + 0.05)
        for measure in ("found", "known_again", "strangers")
        for reading, shift in (("once", 0.0), ("closer", 0.3))
        for size, value in ((64, 0.6 + shift), (24, 0.2 + shift))
    ]
    columns = ["size_px", "reading", "measure", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns).assign(
        dataset="lfw", system="default", profile="default"
    )


def test_sizes_of_both_readings():
    axes = face_sizes(sizes()).axes
    assert [axis.get_ylabel().split(",")[0] for axis in axes][:2] == ["found", "known again"]
    for axis, factor in zip(axes, (100, 100, 1000), strict=True):
        closer, once = (one.lines[0].get_ydata() for one in axis.containers)
        assert closer == pytest.approx([factor * 0.5, factor * 0.9])
        assert once == pytest.approx([factor * 0.2, factor * 0.6])
    assert [axis.get_ylim() for axis in axes[:2]] == [(0, 105)] * 2
    with pytest.raises(ValueError, match="one dataset, net and profile"):
        face_sizes(pd.concat([sizes(), sizes().assign(dataset="ytf")]))
    with pytest.raises(ValueError, match="one dataset, net and profile"):
        face_sizes(sizes()[:0])


def test_in_russian(monkeypatch):
    monkeypatch.setenv("FIGURES_LANGUAGE", "ru")
    axes = face_sizes(sizes()).axes
    assert [axis.get_ylabel() for axis in axes][:2] == ["найдено, %", "узнано, %"]
    named = [text.get_text() for text in axes[0].figure.legends[0].get_texts()]
    assert named == ["мелкие лица прочитаны ещё раз", "прочитано один раз"]
    errors = pd.DataFrame({"threshold": [0.9, 1.0], "fpir": [0.5, 0.1], "fnir": [0.0, 0.1]})
    (axis,) = threshold_costs(errors, 0.95).axes
    assert axis.lines[2].get_label() == "порог галереи"


def test_a_picture_for_a_notebook_is_small():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90, 3), np.uint8))
    data = jpeg(picture)
    assert Image.open(io.BytesIO(data)).size == (90, 90) and data[:2] == b"\xff\xd8"
