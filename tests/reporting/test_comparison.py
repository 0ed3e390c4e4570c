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


def test_systems_of_one_detector_have_one_curve():
    faces = faces_table(("two_stage_photo",))
    other = faces.assign(system="two_stage_face")
    axis = comparison.iou_distribution(pd.concat([faces, other])).axes[0]
    assert len([line for line in axis.lines if len(line.get_xdata()) > 2]) == 1
    (both, _) = axis.get_legend().get_texts()
    assert both.get_text() == "two-stage (photo),\ntwo-stage (face)"


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


def bars_of(figure):
    """Labels, lengths and texts of the bars, and the title."""
    (axis,) = figure.axes
    labels = [label.get_text() for label in axis.get_yticklabels()]
    lengths = [bar.get_width() for bar in axis.patches]
    return labels, lengths, [text.get_text() for text in axis.texts], figure.get_suptitle()


def test_confusion_of_nobody():
    faces = faces_table()
    right = faces.assign(predicted_identity=faces["identity"])
    known = int((right["found"] & (right["identity"] != "")).sum())
    for rows, count in ((right, known), (right[:0], 0)):
        found = bars_of(comparison.confusion(rows))
        assert found == ([], [], [], f"0 of {count} faces (0.0 %) taken for another")


def test_confusion_shows_the_worst_pairs_and_how_many_faces_the_person_has():
    rows = [("ann", "bob")] * 3 + [("bob", "ann"), ("bob", "bob"), ("", "ann"), ("cyd", "ann")]
    faces = pd.DataFrame(rows, columns=["identity", "predicted_identity"]).assign(found=True)
    lost = faces[:1].assign(found=False)  # counts nowhere
    figure = comparison.confusion(pd.concat([faces, lost]), pairs=2)
    labels, lengths, texts, title = bars_of(figure)
    # Of pairs with as many faces first the one that is more of its person's.
    assert labels == ["ann → bob", "cyd → ann"]
    assert (lengths, texts) == ([3, 1], ["3 of 3", "1 of 1"])
    assert title == "5 of 6 faces (83.3 %) taken for another"
    assert figure.axes[0].get_xlabel() == "and 1 more pair"
    assert bars_of(comparison.confusion(faces))[0] == ["ann → bob", "cyd → ann", "bob → ann"]


def test_people_taken_for_nobody_and_pairs_too_many_to_show():
    rows = [(f"p{at:02d}", "") for at in range(35)]
    faces = pd.DataFrame(rows, columns=["identity", "predicted_identity"]).assign(found=True)
    figure = comparison.confusion(faces)
    labels = bars_of(figure)[0]
    assert labels == [f"p{at:02d} → nobody" for at in range(12)]
    assert figure.axes[0].get_xlabel() == "and 23 more pairs"


# --- time -----------------------------------------------------------------------------------------


def test_stage_times_prints_the_median_of_the_whole():
    rows = [("joint", "network", turn, ms) for turn, ms in enumerate((10.0, 20.0, 90.0))]
    rows += [("joint", "odd stage", turn, 5.0) for turn in range(3)]
    figure = comparison.stage_times(pd.DataFrame(rows, columns=["system", "stage", "turn", "ms"]))
    assert [text.get_text() for text in figure.axes[0].texts] == ["25.0 ms, 40.0 FPS"]
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
