"""Figures of Experiment 1 show the numbers of their tables."""

import numpy as np
import pandas as pd
import pytest

from thesislib.reporting.figures import comparison
from thesislib.reporting.labels import SYSTEM_LABELS


def faces_table(systems=("joint",), n=40, seed=0):
    """Random faces of three known people and an unknown one, every kind of outcome among them."""
    random = np.random.default_rng(seed)
    rows = []
    for system in systems:
        for at in range(n):
            found = bool(random.random() < 0.8)
            iou = random.random() if found else 0.0
            rows.append(
                {
                    "system": system,
                    "photo": f"{at}.jpg",
                    "identity": random.choice(["ann", "bob", "cyd", ""]),
                    "predicted_identity": random.choice(["ann", "bob", "cyd"]) if found else "",
                    "oracle_identity": random.choice(["ann", "bob", "cyd", ""]),
                    "found": found,
                    "iou": iou,
                    "iou_calibrated": iou,
                }
            )
    return pd.DataFrame(rows)


def two_runs(rows, column):
    return pd.concat([rows.assign(**{column: value}) for value in ("a", "b")])


# --- boxes ----------------------------------------------------------------------------------------


def test_share_of_faces_that_reach_an_iou_is_that_of_a_count():
    faces = faces_table(("joint", "two_stage_face"), n=60)
    faces.loc[faces["system"] == "two_stage_face", "iou_calibrated"] *= 0.9
    axis = comparison.iou_distribution(faces).axes[0]
    joint, face, raw = (line for line in axis.lines if len(line.get_xdata()) > 2)
    drawn = [("joint", "iou", joint), ("two_stage_face", "iou_calibrated", face)]
    for system, column, line in [*drawn, ("two_stage_face", "iou", raw)]:
        values = faces.loc[faces["system"] == system, column].to_numpy()
        x, y = line.get_xdata(), line.get_ydata()
        assert line.get_drawstyle() == "steps-pre"
        for threshold in (0.0, 0.25, 0.5, 0.9, 1.0, values[0], values.max()):
            share = y[np.searchsorted(x, threshold)]  # a step holds up to its right end
            assert share == pytest.approx(100 * (values >= threshold).mean())
    shown = [text.get_text() for text in axis.get_legend().get_texts()]
    assert shown == ["joint net", "two-stage (face)", "boxes not calibrated"]


# --- error split ----------------------------------------------------------------------------------


def test_error_shares_are_those_of_a_loop():
    faces = faces_table(("two_stage_face", "joint"), n=200)
    counts = {}
    for face in faces.to_dict("records"):
        if face["identity"] == "":
            continue
        named = face["predicted_identity"] == face["identity"]
        if not face["found"]:
            verdict = "missed"
        elif named and face["iou_calibrated"] >= 0.5:
            verdict = "right"
        elif named:
            verdict = "box"
        elif face["oracle_identity"] == face["identity"]:
            verdict = "place"
        else:
            verdict = "identification"
        own = counts.setdefault(face["system"], {})
        own[verdict] = own.get(verdict, 0) + 1
    shares = comparison.error_shares(faces)
    assert list(shares.index) == ["joint", "two_stage_face"]
    for system, own in counts.items():
        assert len(own) == 5, "the table must hold every kind"
        assert shares.loc[system, "faces"] == sum(own.values())
        for verdict, count in own.items():
            assert shares.loc[system, verdict] == pytest.approx(count / sum(own.values()))
    assert shares.drop(columns="faces").sum(axis=1).to_numpy() == pytest.approx(1)


@pytest.mark.parametrize("systems", [("joint",), ("joint", "two_stage_face", "another")])
def test_error_split_draws_and_prints_the_shares(systems):
    faces = faces_table(systems, n=100)
    shares = comparison.error_shares(faces)
    bars, numbers = comparison.error_split(faces).axes
    widths = [bar.get_width() for bar in bars.patches]
    assert widths == pytest.approx(100 * shares.drop(columns="faces").to_numpy().T.ravel())
    ends = [bar.get_x() + bar.get_width() for bar in bars.patches[-len(systems) :]]
    assert ends == pytest.approx([100] * len(systems))
    cells = {text.get_text() for text in numbers.texts}
    assert {
        f"{100 * value:.1f} %" for value in shares.drop(columns="faces").to_numpy().ravel()
    } <= (cells)
    assert {str(count) for count in shares["faces"]} <= cells
    labels = [label.get_text() for label in bars.get_yticklabels()]
    assert labels == [SYSTEM_LABELS.get(system, system) for system in systems]


# --- confusion ------------------------------------------------------------------------------------


def test_confusion_of_nobody():
    faces = faces_table()
    right = faces.assign(predicted_identity=faces["identity"])
    known = int((right["found"] & (right["identity"] != "")).sum())
    for rows, count, people in ((right, known, 3), (right[:0], 0, 0)):
        matrix, names = comparison.confusion(rows).axes
        shown = [text.get_text() for text in names.texts]
        assert shown == [f"0 of {count} faces (0.0 %) taken for another"]
        assert matrix.get_xlabel() == f"taken for ({people} people)"
        assert not len(matrix.collections[0].get_offsets())


def test_confusion_lists_the_worst_pair_first():
    rows = [("ann", "bob")] * 3 + [("bob", "ann"), ("bob", "bob"), ("", "ann")]
    faces = pd.DataFrame(rows, columns=["identity", "predicted_identity"]).assign(found=True)
    matrix, names = comparison.confusion(faces, ["bob", "ann"], pairs=1).axes
    texts = [text.get_text() for text in names.texts]
    assert texts[:3] == ["3", "ann → bob", "and 1 more pair (equals: by name)"]
    assert texts[-1] == "4 of 5 faces (80.0 %) taken for another"
    assert matrix.get_xlabel() == "taken for (2 people)"
    # x: taken for, y: who it is, by their numbers on the axes.
    assert matrix.collections[0].get_offsets().tolist() == [[0, 1], [1, 0]]
    assert [label.get_text() for label in matrix.get_yticklabels()] == ["bob", "ann"]


def test_people_taken_for_nobody_and_people_too_many_for_the_axes():
    rows = [(f"p{at:02d}", "") for at in range(35)]
    faces = pd.DataFrame(rows, columns=["identity", "predicted_identity"]).assign(found=True)
    matrix, names = comparison.confusion(faces).axes
    assert "p00 (1) → nobody (0)" in [text.get_text() for text in names.texts]
    assert not any(label.get_text().startswith("p") for label in matrix.get_xticklabels())


# --- time -----------------------------------------------------------------------------------------


def test_stage_times_prints_the_median_of_the_whole():
    rows = [("joint", "network", turn, ms) for turn, ms in enumerate((10.0, 20.0, 90.0))]
    rows += [("joint", "odd stage", turn, 5.0) for turn in range(3)]
    figure = comparison.stage_times(pd.DataFrame(rows, columns=["system", "stage", "turn", "ms"]))
    assert [text.get_text() for text in figure.axes[0].texts] == ["25 ms, 40 FPS"]
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths == pytest.approx([20, 5])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["network", "odd stage"]


# --- rows of several runs -------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["profile", "seed", "dataset", "run"])
def test_faces_of_several_runs_are_not_counted_together(column):
    rows = two_runs(faces_table(), column)
    for draw in (comparison.iou_distribution, comparison.error_split, comparison.confusion):
        with pytest.raises(ValueError, match=rf"experiment1_faces: several in column {column} "):
            draw(rows)
    stages = pd.DataFrame([("joint", "network", 0, 1.0)], columns=["system", "stage", "turn", "ms"])
    with pytest.raises(ValueError, match=rf"stages: several in column {column} \(a, b\)"):
        comparison.stage_times(two_runs(stages, column))


def test_confusion_is_of_one_system():
    with pytest.raises(ValueError, match=r"several in column system \(joint, two_stage_face\)"):
        comparison.confusion(faces_table(("joint", "two_stage_face")))
