"""Curves of training are those of the table."""

import numpy as np
import pandas as pd
import pytest

from thesislib.reporting.figures import training

COLUMNS = ["system", "epoch", "metric", "value"]


def history(rows):
    return pd.DataFrame(rows, columns=COLUMNS)


def curves(axis):
    return {
        line.get_label(): (line.get_xdata().tolist(), line.get_ydata().tolist())
        for line in axis.lines
    }


def test_terms_of_the_loss_of_the_joint_net():
    rows = [("joint", 1, "identity", 2.0), ("joint", 2, "identity", 1.0), ("joint", 1, "total", 3)]
    rows += [("joint", 2, "box", 0.2), ("joint", 1, "box", np.nan), ("two_stage_face", 1, "box", 9)]
    (axis,) = training.loss_terms(history(rows)).axes
    assert curves(axis) == {"box": ([2], [0.2]), "identity": ([1, 2], [2.0, 1.0])}
    assert axis.get_yscale() == "log"
    with pytest.raises(ValueError, match="training: no rows of the joint net"):
        training.loss_terms(history(rows[-1:]))


def test_each_system_has_a_curve_of_loss_and_of_accuracy():
    rows = [
        (system, epoch, metric, at / 10 + epoch / 20)
        for at, system in enumerate(("two_stage_face", "joint", "another"))
        for metric in ("identity", "identity_accuracy")
        for epoch in (1, 2)
    ]
    loss, accuracy = training.training_curves(history(rows)).axes
    shown = [text.get_text() for text in loss.get_legend().get_texts()]
    assert shown == ["joint net", "two-stage (face)", "another"]
    assert [line.get_ydata()[0] for line in loss.lines] == pytest.approx([0.15, 0.05, 0.25])
    assert [line.get_ydata()[0] for line in accuracy.lines] == pytest.approx([15, 5, 25])
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("cross-entropy", "accuracy, %")


def test_without_accuracy_of_some_system_loss_stands_alone():
    rows = [("two_stage_face", 1, "identity", 2.0), ("two_stage_face", 1, "box", np.nan)]
    rows += [("joint", 1, "identity", 1.0), ("joint", 1, "identity_accuracy", 0.5)]
    (loss,) = training.training_curves(history(rows)).axes
    assert curves(loss) == {"joint net": ([1], [1.0]), "two-stage (face)": ([1], [2.0])}


@pytest.mark.parametrize("column", ["profile", "seed", "run"])
def test_curves_of_two_runs_are_refused(column):
    rows = history([("joint", 1, "box", 0.4)])
    two = pd.concat([rows.assign(**{column: at}) for at in (0, 1)])
    with pytest.raises(ValueError, match=rf"training: several in column {column} \(0, 1\)"):
        training.training_curves(two)
    with pytest.raises(ValueError, match=rf"training: several in column {column}"):
        training.loss_terms(two)
