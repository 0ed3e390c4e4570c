"""Figures of datasets show what is in their tables."""

import numpy as np
import pandas as pd
import pytest

from thesislib.reporting.figures import data


def bars(axis):
    """Height by middle of the bars that are not empty."""
    found = {bar.get_x() + bar.get_width() / 2: bar.get_height() for bar in axis.patches}
    return {at: height for at, height in found.items() if height}


def test_box_statistics_of_one_face():
    columns = ["width", "height", "x1", "y1", "x2", "y2"]
    boxes = pd.DataFrame([[40, 30, 5, 5, 15, 18]], columns=columns)
    figure = data.box_statistics(boxes, np.array([[30.0, 40.0], [60.0, 70.0]]), 96)
    sizes, places, shares, _ = figure.axes
    scale = 96 / 30
    assert sizes.collections[0].get_offsets().tolist() == [[10 * scale, 13 * scale]]
    crosses = [line.get_xydata().tolist() for line in sizes.lines if line.get_marker() == "x"]
    assert crosses == [[[30, 40]], [[60, 70]]]
    assert sizes.get_aspect() == 1
    assert sizes.texts[0].get_text() == "anchors\n30 × 40\n60 × 70"
    assert sizes.get_xlabel() == "width, px at 96 px"
    # The centre is a quarter of the photo's width from the left, and 11.5/30 from its top.
    percent = np.asarray(places.images[0].get_array())
    assert np.argwhere(percent).tolist() == [[int(11.5 / 30 * 20), int(0.25 * 20)]]
    assert percent.max() == 100
    ((at, height),) = bars(shares).items()
    assert height == 1
    assert at == pytest.approx(np.sqrt(130) / 30, abs=0.05)


LOOKS = pd.DataFrame(
    {
        "part": ["train", "train", "test"],
        "brightness": [0.31, 0.61, 0.31],
        "face_size": [0.2, 0.4, 0.3],
        "box_shape": [0.9, 1.1, np.nan],
        "off_centre": [0.1, 0.2, 0.15],
    }
)


def test_dataset_overview_counts_people_and_shares_of_each_part():
    people = pd.DataFrame({"photos": [3, 3, 12], "sessions": [1, 2, 1]})
    figure = data.dataset_overview(people, LOOKS)
    counted, sittings, _size, shapes, _place, light = figure.axes
    assert {round(at): count for at, count in bars(counted).items()} == {3: 2, 12: 1}
    assert {round(at): count for at, count in bars(sittings).items()} == {1: 2, 2: 1}
    for axis, expected in ((shapes, ([50, 50], [])), (light, ([50, 50], [100]))):
        drawn = [patch.get_data().values for patch in axis.patches]
        assert tuple(values[values > 0].tolist() for values in drawn) == expected
    assert light.get_ylim() == shapes.get_ylim()  # one ruler for all
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "3 people"
    assert [text.get_text() for text in legend.get_texts()] == [
        "training, 2 photos",
        "test, 1 photo",
    ]


@pytest.mark.parametrize(
    ("photos", "sessions", "panels", "told"),
    [
        ([24, 24], [2, 2], 4, "2 people, each with 24 photos of 2 sittings"),
        ([24, 24], [1, 2], 5, "2 people, each with 24 photos"),
        ([23, 24], [1, 1], 5, "2 people, each with 1 sitting"),
    ],
)
def test_what_everybody_has_as_many_of_is_said_in_words(photos, sessions, panels, told):
    people = pd.DataFrame({"photos": photos, "sessions": sessions})
    figure = data.dataset_overview(people, LOOKS)
    assert len([axis for axis in figure.axes if axis.get_title()]) == panels
    assert figure.legends[0].get_title().get_text() == told


def probes():
    rows = [
        (measure, split, value, value - 0.05, value + 0.05, 0.05)
        for measure, at in (
            ("linear_classifier_on_background", 0.2),
            ("linear_classifier_on_photo", 0.6),
            ("joint_accuracy_50", 0.95),
        )
        for split, value in (("photo", at), ("session", at / 2))
    ]
    return pd.DataFrame(rows, columns=["measure", "split", "value", "low", "high", "chance"])


YAW = pd.DataFrame({"yaw": [-60, 0, 60], "found": [0.1, 0.9, 0.0], "low": 0.0, "high": 1.0})
REAL = pd.DataFrame(
    [("ytf", "photo", 0.97, 0.96, 0.98), ("ytf", "session", 0.13, 0.1, 0.15)],
    columns=["dataset", "split", "value", "low", "high"],
)


@pytest.mark.parametrize(("real", "lines"), [(REAL, 4), (REAL[:0], 3)])
def test_stand_in_hides_no_dot_behind_its_legend(real, lines):
    figure = data.stand_in(probes(), YAW, real)
    figure.canvas.draw()
    turned, named = figure.axes
    assert turned.lines[-1].get_ydata() == pytest.approx([10, 90, 0])
    assert len(named.get_yticks()) == lines
    assert turned.get_title() and named.get_title()
    dots = [line for line in named.lines if line.get_marker() in ("o", "s")]
    drawn = [float(np.ravel(dot.get_xdata())[0]) for dot in dots]
    assert drawn == pytest.approx([20, 10, 60, 30, 95, 47.5, 97, 13][: 2 * lines])
    legend = figure.legends[0].get_window_extent()
    for dot in dots:
        assert not legend.contains(*dot.get_window_extent().get_points().mean(axis=0))


def test_distances_are_outlined_by_kind_of_pair_with_empty_bins():
    rows = [("between", 0.62, 0.75, 4), ("between", 0.7, 0.25, 4), ("within", 0.4, 1.0, 2)]
    table = pd.DataFrame(rows, columns=["pair", "distance", "share", "n"])
    figure = data.stand_in_distances(table)
    (axis,) = figure.axes
    _area, within, _area, between = (patch.get_data() for patch in axis.patches)
    for drawn, expected in ((within, {0.4: 100}), (between, {0.6: 75, 0.68: 25})):
        found = dict(zip(drawn.edges[:-1].round(2), drawn.values, strict=True))
        assert {at: height for at, height in found.items() if height} == pytest.approx(expected)
        assert len(found) == 8  # 0.40 to 0.72
    assert [line.get_xdata()[0] for line in axis.lines] == [0.6]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [
        "one person, two sittings: 100 % closer than 0.6",
        "two people: 0 % closer than 0.6",
        "dlib's threshold",
    ]
