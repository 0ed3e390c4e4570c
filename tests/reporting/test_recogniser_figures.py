"""Figures of the recogniser are drawn from its tables, and show what is in them."""

import numpy as np
import pandas as pd
import pytest

from thesislib.reporting.figures.recogniser import accuracy_and_cost, learning_curves


def accuracy():
    """Made-up rows in the form of ``recogniser.csv`` and ``recogniser_speed.csv``."""
    measures = pd.DataFrame(
        [
            ("default", 0.99, 0.98, 1.0),
            ("default_openvino_int8", 0.98, 0.97, 0.99),
            ("roi", 0.8, 0.78, 0.82),
            ("teacher_aligned", 0.985, 0.975, 0.995),
        ],
        columns=["system", "value", "low", "high"],
    ).assign(
        measure="enrolled_joint_accuracy_50", dataset="lfw", profile="default", seed=0, group=""
    )
    times = pd.DataFrame(
        [
            (system, engine, px, faces, ms * (1 + faces / 32))
            for system, engine, px, ms in (
                ("default", "torch", 480, 100),
                ("default", "openvino_int8", 480, 25),
                ("default", "openvino_int8", 320, 12),
                ("roi", "openvino", 480, 20),
                ("teacher_aligned", "torch", 480, 180),
                ("yunet_dlib", "openvino", 480, 22),
            )
            for faces in (1, 32)
        ],
        columns=["system", "engine", "input_px", "faces", "ms_median"],
    ).assign(profile="default", seed=0, machine="a processor", run="one")
    return measures, times


def test_accuracy_stands_over_the_cost_of_the_fastest_engine():
    figure = accuracy_and_cost(*accuracy())
    drawn = {line.get_label(): line for line in figure.axes[0].lines}
    assert set(drawn) == {
        "read at landmarks, OpenVINO int8",
        "read under the box, OpenVINO fp32",
        "detector, chips, recogniser, PyTorch",
    }
    line = drawn["read at landmarks, OpenVINO int8"]
    np.testing.assert_allclose(line.get_xdata(), [25 * 33 / 32, 50])
    np.testing.assert_allclose(line.get_ydata(), [98, 98])  # what the engine reaches
    assert {text.get_text() for text in figure.axes[0].texts} == {"1", "32"}
    assert figure.axes[0].get_xlabel().endswith("below points: faces in the photo")
    assert len({line.get_marker() for line in drawn.values()}) == 3  # told apart without colour


def distances():
    """Three nets of 16 000 views, one of 4000, the published one, and one read under the box."""
    nets = [
        ("few", 1000, 16000, 0.6),
        ("more", 5000, 16000, 0.5),
        ("all", 38000, 16000, 0.4),
        ("short", 38000, 4000, 0.7),
        ("default", np.nan, np.nan, 0.2),
        ("roi", np.nan, np.nan, 0.8),
    ]
    table = pd.DataFrame(nets, columns=["system", "portraits", "views", "value"])
    table = table.assign(low=table["value"] - 0.01, high=table["value"] + 0.02, group="")
    return table.assign(
        measure="teacher_distance_found", dataset="fairface", profile="default", seed=0
    )


def test_distances_over_views_and_over_portraits():
    figure = learning_curves(distances())
    for axis, x, y in zip(
        figure.axes,
        ([4000, 16000], [1000, 5000, 38000]),
        ([0.7, 0.4], [0.6, 0.5, 0.4]),
        strict=True,
    ):
        line, published = (one for one in axis.lines if one.get_marker() in ("o", "None"))
        np.testing.assert_allclose(line.get_xdata().astype(float), x)
        np.testing.assert_allclose(line.get_ydata().astype(float), y)
        np.testing.assert_allclose(published.get_ydata(), [0.2, 0.2])
    assert figure.axes[0].get_xlabel() == "views (38000 portraits)"
    assert figure.axes[1].get_xlabel() == "portraits (16000 views)"


def test_in_russian(monkeypatch):
    monkeypatch.setenv("FIGURES_LANGUAGE", "ru")
    (axis,) = accuracy_and_cost(*accuracy()).axes
    assert axis.get_ylabel() == "найдено и названо, lfw, %"
    assert "чтение под рамкой, OpenVINO fp32" in [line.get_label() for line in axis.lines]
    views, portraits = learning_curves(distances()).axes
    assert views.get_xlabel() == "показов (портретов: 38000)"
    assert portraits.get_xlabel() == "портретов (показов: 16000)"
    assert views.texts[0].get_text() == "опубликованная сеть"


def test_no_curve_of_nets_whose_views_are_not_known():
    for table in (distances()[4:], distances()[4:].drop(columns=["portraits", "views"])):
        with pytest.raises(ValueError, match="no distances of nets that learned from so many"):
            learning_curves(table)
