"""Figures of Experiment 1 over seeds show the numbers of their tables."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from thesislib.reporting.figures import seeds

ABOUT = {"dataset": "synthetic", "split": "photo", "profile": "quick", "run": "r"}
ARMS = [
    ("joint", "scratch"),
    ("names_only", "scratch"),
    ("joint", "default"),
    ("two_stage_aligned", "dlib"),
    ("chance", "none"),
    ("dlib_aligned_nearest", "none"),
]


def numbers(**changes):
    """Every arm at 0.1, 0.2, ... of every measure; chance without an interval."""
    rows = []
    for at, (system, start) in enumerate(ARMS, 1):
        for metric in ("accuracy", "joint_accuracy_50", "recall_50"):
            value = at / 10
            ends = {"low": value - 0.05, "high": value + 0.05}
            ends = dict.fromkeys(ends, np.nan) if system == "chance" else ends
            row = {"system": system, "start": start, "metric": metric, "value": value, **ends}
            rows.append(ABOUT | row | {"seed_values": f"{value - 0.02:.2f} {value + 0.02:.2f}"})
    return pd.DataFrame(rows).assign(**changes)


def marks(axis, marker):
    """Values and lanes of all marks of a kind."""
    lines = [line for line in axis.lines if line.get_marker() == marker]
    return [
        (round(float(x), 3), round(float(y), 3))
        for line in lines
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    ]


@pytest.mark.parametrize("order", [1, -1])
def test_each_system_has_a_lane_with_its_value_interval_and_seeds(order):
    figure = seeds.systems(numbers()[::order])
    accuracy, joint, given, boxes = figure.axes
    labels = [label.get_text() for label in accuracy.get_yticklabels()]
    assert labels == [
        "the thesis, other photos",
        "joint",
        "two-stage",
        "from random weights",
        "joint net",
        "names alone",
        "from dlib's recogniser",
        "joint net",
        "two-stage (aligned)",
        "references",
        "chance",
        "nearest face, dlib",
    ]
    lanes = [(10.0 * at, lane) for at, lane in enumerate((4, 5, 7, 8, 10, 11), 1)]
    assert set(marks(accuracy, "o")) == {(98.15, 1), (97.54, 2), *lanes}
    assert set(marks(joint, "o")) == set(lanes)
    assert not marks(given, "o") and set(marks(boxes, "o")) == {(78.88, 1), (79.82, 2)}
    told = [[text.get_text() for text in axis.texts] for axis in figure.axes]
    assert told == [[], ["not in the thesis"], ["not in the thesis"], []]
    bars = {tuple(np.round(line.get_xdata(), 3)) for line in joint.lines}
    assert (5.0, 15.0) in bars
    dots = marks(joint, ".")
    assert (8.0, 3.74) in dots and (12.0, 3.74) in dots
    assert len(dots) == 2 * 5  # chance is not trained


def test_the_thesis_stands_beside_photo_splits_alone():
    axis = seeds.systems(numbers(split="session")).axes[0]
    assert axis.get_yticklabels()[0].get_text() == "from random weights"
    assert 98.15 not in [value for value, _ in marks(axis, "o")]


def test_several_results_are_not_drawn_as_one():
    for column in ("dataset", "split", "profile"):
        two = pd.concat([numbers(), numbers(**{column: "other"})])
        with pytest.raises(ValueError, match=f"experiment1_seeds: several in column {column}"):
            seeds.systems(two)


def differences():
    rows = []
    for at, (against, against_start) in enumerate(ARMS[1:]):
        row = {"metric": "joint_accuracy_50", "system": "joint", "against": against}
        row |= {"against_start": against_start, "holds": at % 2 == 0, "seed_values": "0.1 0.2"}
        row |= {"start": "scratch" if at < 2 else "default", "value": 0.1 * at - 0.2}
        rows.append(ABOUT | row | {"low": 0.1 * at - 0.3, "high": 0.1 * at - 0.1})
    return pd.DataFrame(rows)


def test_a_difference_that_may_be_claimed_is_filled():
    figure = seeds.differences(differences())
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == [
        "joint net from random weights less …",
        "names alone",
        "joint net, from the published net",
        "joint net from the published net less …",
        "two-stage (aligned), from dlib's recogniser",
        "chance",
        "nearest face, dlib",
    ]
    assert axis.get_xlabel() == "found and named, IoU ≥ 0.5: difference, percentage points"
    assert [lane for _, lane in marks(axis, "o")] == [1, 2, 4, 5, 6]
    again = seeds.differences(differences().assign(start="default", against_start="scratch"))
    labels = [label.get_text() for label in again.axes[0].get_yticklabels()]
    assert labels[1] == "joint net, from random weights"
    found = {}
    for line in axis.lines:
        if line.get_marker() == "o":
            found[round(float(line.get_xdata()[0]))] = to_hex(line.get_markerfacecolor())
    assert set(found) == {-20, -10, 0, 10, 20}
    assert {at for at, colour in found.items() if colour == "#ffffff"} == {-10, 10}
    with pytest.raises(ValueError, match="no rows of accuracy"):
        seeds.differences(differences(), "accuracy")


def test_lanes_have_their_words_in_russian(monkeypatch):
    monkeypatch.setenv("FIGURES_LANGUAGE", "ru")
    axis = seeds.differences(differences()).axes[0]
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert labels[0] == "единая сеть со случайных весов минус …"
    axes = seeds.systems(numbers()).axes
    assert axes[1].get_title() == "найдено и названо,\nIoU ≥ 0,5"
