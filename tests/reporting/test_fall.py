"""The fall from test photos with twins in training to those without."""

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from thesislib import paths
from thesislib.reporting.figures import style
from thesislib.reporting.figures.fall import fall
from thesislib.reporting.figures.layout import problems
from thesislib.tables import read_results


def rows(system, photo, session, metric="joint_accuracy_50", interval=0.02):
    about = {"dataset": "ytf", "profile": "laptop", "seed": 0, "run": "abc"}
    return [
        about
        | {"system": system, "split": split, "metric": metric, "value": value}
        | {"low": value - interval, "high": value + interval}
        for split, value in (("photo", photo), ("session", session))
    ]


TABLE = pd.DataFrame(
    rows("hog_nearest", 0.8, 0.1, "oracle_box_accuracy")
    + rows("joint", 0.9, 0.2)
    + rows("joint", 0.95, 0.3, "oracle_box_accuracy")
    + rows("chance", 0.004, 0.003, "oracle_box_accuracy", float("nan"))
    + rows("constant_box", 0.5, 0.4, "mean_iou")
)


def lanes(figure):
    (axis,) = figure.axes
    return [label.get_text() for label in axis.get_yticklabels()]


def marks(axis, lane):
    """Marker and value of each point of a lane."""
    points = {}
    for line in axis.lines:
        if line.get_marker() in ("o", "D") and list(line.get_ydata()) == [lane]:
            points[line.get_marker()] = line.get_xdata()[0], to_hex(line.get_color()).upper()
    return points


def test_each_system_has_a_circle_with_twins_and_a_diamond_without():
    figure = fall(TABLE)
    (axis,) = figure.axes
    assert lanes(figure) == ["joint net", "chance", "nearest face, HOG, boxes given"]
    blue, grey = style.COLOURS["joint"], style.GREY
    assert marks(axis, 0) == {"o": (pytest.approx(90), blue), "D": (pytest.approx(20), blue)}
    assert marks(axis, 2) == {"o": (pytest.approx(80), grey), "D": (pytest.approx(10), grey)}
    texts = [text.get_text() for text in axis.texts]
    assert texts == ["90.0", "20.0", "0.4", "80.0", "10.0"]  # of two that coincide, one


def test_a_session_split_that_is_easier_is_told_as_well():
    (axis,) = fall(pd.DataFrame(rows("joint", 0.2, 0.9))).axes
    assert [text.get_text() for text in axis.texts] == ["90.0", "20.0"]
    right, left = axis.texts
    assert right.xy[0] == pytest.approx(92) and left.xy[0] == pytest.approx(18)


def test_both_splits_of_one_run_are_needed():
    with pytest.raises(ValueError, match="no rows split by session"):
        fall(TABLE[TABLE["split"] == "photo"])
    two = pd.concat([TABLE, TABLE.assign(seed=1)])
    with pytest.raises(ValueError, match="experiment1"):
        fall(two)


@pytest.mark.parametrize("language", ["en", "ru"])
def test_the_published_numbers_are_drawn_whole(language, monkeypatch):
    monkeypatch.setenv("FIGURES_LANGUAGE", language)
    results = read_results(paths.PUBLISHED_TABLES / "experiment1.csv")
    figure = fall(results[(results["dataset"] == "ytf") & (results["profile"] == "laptop")])
    assert problems(figure) == []
    assert len(lanes(figure)) == 10
