"""Curves of training are those of the table."""

import numpy as np
import pandas as pd
import pytest

from thesislib.reporting.figures import training

COLUMNS = ["system", "epoch", "metric", "value"]


def history(rows):
    return pd.DataFrame(rows, columns=COLUMNS)


@pytest.mark.parametrize(
    ("metric", "label", "drawn"),
    [("identity_accuracy", "accuracy, %", [50]), ("total", "cross-entropy", [2, 1])],
)
def test_training_curves_with_and_without_accuracy(metric, label, drawn):
    rows = [("joint", 1, "identity", 2.0), ("joint", 2, "identity", 1.0), ("joint", 1, metric, 0.5)]
    rows += [("joint", 2, "box", 0.2), ("joint", 1, "box", 0.4)]
    left, right = training.training_curves(history(rows)).axes
    assert right.get_ylabel() == label
    assert right.lines[0].get_ydata() == pytest.approx(drawn)
    shown = [text.get_text() for text in left.get_legend().get_texts()]
    assert shown == ["box", "identity"]
    curves = [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in left.lines]
    assert curves == [([1, 2], [0.4, 0.2]), ([1, 2], [2.0, 1.0])]
    assert left.lines[0].get_color() == "#D55E00"


def test_each_system_has_a_curve_and_a_label():
    rows = [
        (system, epoch, "identity_accuracy", at / 10 + epoch / 20)
        for at, system in enumerate(("two_stage_face", "joint", "another"))
        for epoch in (1, 2)
    ]
    _, right = training.training_curves(history(rows)).axes
    shown = [text.get_text() for text in right.get_legend().get_texts()]
    assert shown == ["joint net", "two-stage (face)", "another"]
    assert [line.get_ydata()[0] for line in right.lines] == pytest.approx([15, 5, 25])


def test_training_curves_without_the_joint_net():
    rows = [("two_stage_face", 1, "identity", 2.0), ("two_stage_face", 1, "box", np.nan)]
    left, right = training.training_curves(history(rows)).axes
    assert [text.get_text() for text in left.texts] == ["not trained"]
    assert not left.lines
    assert right.lines[0].get_ydata() == pytest.approx([2.0])
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["two-stage (face)"]


@pytest.mark.parametrize("column", ["profile", "seed", "run"])
def test_curves_of_two_runs_are_refused(column):
    rows = history([("joint", 1, "box", 0.4)])
    two = pd.concat([rows.assign(**{column: at}) for at in (0, 1)])
    with pytest.raises(ValueError, match=rf"training: several in column {column} \(0, 1\)"):
        training.training_curves(two)
