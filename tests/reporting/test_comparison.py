"""Figures are drawn from small tables, saved the same twice, and checked against a manifest."""

import functools
import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from thesislib import paths
from thesislib.reporting.figures import comparison, data, photos, save, scheme, style, training

SAVED = {
    "dataset": "synthetic",
    "split": "photo",
    "notebook": "data.ipynb",
    "data_hash": "abc",
    "profile": "quick",
    "seed": 0,
    "caption": "a curve",
}


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The figures' folder of a project of its own, with one notebook."""
    monkeypatch.setattr(paths, "FIGURES", tmp_path / "figures")
    monkeypatch.setattr(paths, "PRIVATE_FIGURES", tmp_path / "figures" / "private")
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path / "notebooks")
    paths.NOTEBOOKS.mkdir()
    (paths.NOTEBOOKS / "data.ipynb").write_text("{}")
    return paths.FIGURES


@functools.cache
def curve():
    rows = [("joint", 0.9, 0.9), ("joint", 0.0, 0.0)]
    return comparison.iou_distribution(
        pd.DataFrame(rows, columns=["system", "iou", "iou_calibrated"])
    )


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


def photo(height=30, width=40):
    ramp = np.linspace(0, 255, height * width * 3)
    return ramp.reshape(height, width, 3).astype(np.uint8)


# --- saving ---------------------------------------------------------------------------------------


def test_same_figure_gives_same_bytes(folder):
    first = save.save(curve.__wrapped__(), "one", **SAVED)
    second = save.save(curve.__wrapped__(), "two", **SAVED)
    for suffix in (".png", ".pdf"):
        one, two = (file.with_suffix(suffix).read_bytes() for file in (first, second))
        assert one == two


def test_saving_a_figure_again_gives_same_bytes(folder):
    figure = curve()
    before = save.save(figure, "one", **SAVED).read_bytes()
    assert save.save(figure, "one", **SAVED).read_bytes() == before


def test_saved_figure_is_recorded_and_nothing_is_left_over(folder):
    file = save.save(curve(), "iou", **SAVED)
    assert file == folder / "synthetic-photo" / "iou.png"
    assert sorted(f.name for f in file.parent.iterdir()) == ["iou.pdf", "iou.png"]
    record = json.loads((folder / "manifest.json").read_text())["synthetic-photo/iou"]
    assert record["notebook"] == "data.ipynb"
    assert (record["profile"], record["seed"], record["caption"]) == ("quick", 0, "a curve")
    assert set(record["sha256"]) == {"pdf", "png"}
    assert save.check_manifest(folder) == []


def test_what_it_was_drawn_from_stands_in_the_figure(folder):
    figure = curve()
    save.save(figure, "iou", **SAVED)
    assert figure.get_supxlabel() == "profile quick, synthetic people, photo split, seed 0"


def test_second_figure_keeps_the_first_record(folder):
    save.save(curve(), "one", **SAVED)
    save.save(curve(), "two", **SAVED | {"split": "session"})
    keys = json.loads((folder / "manifest.json").read_text())
    assert list(keys) == ["synthetic-photo/one", "synthetic-session/two"]


@pytest.mark.parametrize(
    ("dataset", "private"), [("ytf", True), ("synthetic", False), ("synthetic-large", False)]
)
def test_real_faces_are_private(folder, dataset, private):
    file = save.save(curve(), "sheet", **SAVED | {"dataset": dataset}, faces=True)
    assert (folder / "private" in file.parents) == private
    assert (folder / "manifest.json").exists() != private
    assert save.check_manifest(folder) == []


def test_manifest_complaints(folder):
    for name in ("kept", "gone", "changed"):
        save.save(curve(), name, **SAVED)
    save.save(curve(), "homeless", **SAVED | {"notebook": "nowhere.ipynb"})
    here = folder / "synthetic-photo"
    (here / "gone.pdf").unlink()
    (here / "changed.png").write_bytes(b"else")
    (here / "stray.png").write_bytes(b"who knows")
    assert save.check_manifest(folder) == [
        "synthetic-photo/changed.png: differs from the manifest",
        "synthetic-photo/gone.pdf: missing",
        "synthetic-photo/homeless: its notebook nowhere.ipynb is missing",
        "synthetic-photo/stray.png: not in the manifest",
    ]


def test_no_figures_no_complaints(folder):
    assert save.check_manifest(folder) == []


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


# --- each function on little ----------------------------------------------------------------------


def test_contact_sheet_of_one_photo_without_faces():
    figure = photos.contact_sheet([photo()], [np.zeros((0, 4))], ["a" * 200])
    assert len(figure.axes) == 1


def test_contact_sheet_of_photos_of_two_sizes():
    boxes = np.array([[1, 1, 9, 9]])
    figure = photos.contact_sheet([photo(), photo(80, 20)], [boxes, boxes], ["a", "b"], 1)
    assert [len(axis.patches) for axis in figure.axes] == [1, 1]


def test_contact_sheet_needs_photos_and_a_title_for_each():
    with pytest.raises(ValueError, match="empty"):
        photos.contact_sheet([], [], [])
    with pytest.raises(ValueError):
        photos.contact_sheet([photo()], [np.zeros((0, 4))], [])


def test_detections_found_and_not_found():
    corners = ("x1", "y1", "x2", "y2")
    truth = dict(zip([f"true_{c}" for c in corners], (5, 5, 20, 20), strict=True))
    found = dict(zip(corners, (6, 4, 22, 20), strict=True))
    lost = dict.fromkeys(corners, np.nan)
    faces = pd.DataFrame(
        [
            {"photo": "a", "identity": "ann", "predicted_identity": "bob", "found": True}
            | truth
            | found,
            {"photo": "b", "identity": "bob", "predicted_identity": "", "found": False}
            | truth
            | lost,
        ]
    )
    figure = photos.detections([photo(), photo()], faces)
    texts = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert texts == ["bob\nis ann", "not found: bob"]
    with pytest.raises(ValueError):
        photos.detections([photo()], faces)


def test_box_statistics_of_one_face():
    columns = ["width", "height", "x1", "y1", "x2", "y2"]
    boxes = pd.DataFrame([[40, 30, 5, 5, 15, 18]], columns=columns)
    data.box_statistics(boxes, np.array([[30.0, 40.0]]), 96)


def test_dataset_overview_counts_people_and_shares_of_each_part():
    people = pd.DataFrame({"photos": [3, 3, 12], "sessions": [1, 2, 1]})
    looks = pd.DataFrame(
        {
            "part": ["train", "train", "test"],
            "brightness": [0.31, 0.61, 0.31],
            "box_shape": [0.9, 1.1, np.nan],
        }
    )
    axes = data.dataset_overview(people, looks).axes
    for axis, counts in ((axes[0], {3: 2, 12: 1}), (axes[1], {1: 2, 2: 1})):
        bars = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in axis.patches}
        assert {at: count for at, count in bars.items() if count} == counts
    assert sum(bar.get_height() for bar in axes[2].patches) == 2
    train, test = (stairs.get_data().values for stairs in axes[3].patches)
    assert sorted(share for share in train if share) == [50, 50]
    assert [share for share in test if share] == [100]


def test_stand_in_hides_no_dot_behind_its_legend():
    rows = [
        (measure, split, value, value - 0.05, value + 0.05, 0.05)
        for measure, at in (
            ("linear_classifier_on_background", 0.2),
            ("linear_classifier_on_photo", 0.6),
            ("joint_accuracy_50", 0.95),
        )
        for split, value in (("photo", at), ("session", at / 2))
    ]
    table = pd.DataFrame(rows, columns=["measure", "split", "value", "low", "high", "chance"])
    yaw = pd.DataFrame({"yaw": [-60, 0, 60], "found": [0.1, 0.9, 0.0], "low": 0.0, "high": 1.0})
    real = pd.DataFrame(
        [("ytf", "photo", 0.97, 0.96, 0.98), ("ytf", "session", 0.13, 0.1, 0.15)],
        columns=["dataset", "split", "value", "low", "high"],
    )
    for beside, lines in ((real, 4), (real[:0], 3)):
        figure = data.stand_in(table, yaw, beside)
        figure.canvas.draw()
        named = figure.axes[1]
        assert len(named.get_yticks()) == lines
        dots = [line for line in named.lines if line.get_marker() == "o"]
        drawn = [float(np.ravel(dot.get_xdata())[0]) for dot in dots]
        assert drawn == pytest.approx([20, 10, 60, 30, 95, 47.5, 97, 13][: 2 * lines])
        legend = named.get_legend().get_window_extent()
        for dot in dots:
            assert not legend.contains(*dot.get_window_extent().get_points().mean(axis=0))


@pytest.mark.parametrize("cell", [32, 64])
def test_network_scheme_names_every_shape(cell):
    figure = scheme.network_scheme(320, "resnet50", 5, cell, 3, 512, 285)
    text = "\n".join(text.get_text() for text in figure.axes[0].texts)
    shapes = ("320 × 320 × 3", "5 × 5 × 2048", "5 × 5 × (3 · 5)", "75 × 5")
    for shape in (*shapes, "5 × 5 × (3 · 512)", "5 × 5 × (3 · 285)"):
        assert shape in text
    assert ("2 × 2 pooling" in text) == (cell == 64)


@pytest.mark.parametrize(
    ("metric", "label"), [("identity_accuracy", "accuracy, %"), ("total", "cross-entropy")]
)
def test_training_curves_with_and_without_accuracy(metric, label):
    rows = [("joint", 1, "identity", 2.0), ("joint", 2, "identity", 1.0), ("joint", 1, metric, 0.5)]
    columns = ["system", "epoch", "metric", "value"]
    figure = training.training_curves(pd.DataFrame(rows, columns=columns))
    assert figure.axes[1].get_ylabel() == label


def test_training_curves_without_the_joint_net():
    rows = [("two_stage_face", 1, "identity", 2.0), ("two_stage_face", 1, "box", np.nan)]
    columns = ["system", "epoch", "metric", "value"]
    training.training_curves(pd.DataFrame(rows, columns=columns))


def test_intervals_of_one_number_stand_below_the_thesis():
    columns = ["dataset", "split", "profile", "seed", "system", "metric", "value", "low", "high"]
    rows = [
        ("synthetic", "photo", "quick", 0, "joint", "accuracy", 0.9, 0.8, 1.0),
        ("synthetic", "photo", "quick", 0, "joint", "fps", 30.0, np.nan, np.nan),
    ]
    figure = comparison.experiment1_intervals(pd.DataFrame(rows, columns=columns))
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [float(np.ravel(dot.get_xdata())[0]) for dot in dots] == [98.15, 97.54, 90.0]


def test_the_thesis_stands_beside_photo_splits_alone_and_names_have_one_axis():
    columns = ["dataset", "split", "profile", "seed", "system", "metric", "value", "low", "high"]
    rows = [
        ("ytf", "session", "laptop", 0, "joint", metric, value, value - 0.01, value + 0.01)
        for metric, value in (
            ("accuracy", 0.12),
            ("joint_accuracy_50", 0.11),
            ("joint_accuracy_75", 0.05),
            ("oracle_box_accuracy", 0.2),
        )
    ]
    figure = comparison.experiment1_intervals(pd.DataFrame(rows, columns=columns))
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [float(np.ravel(dot.get_xdata())[0]) for dot in dots] == [12.0]
    accuracy, joint, strict, _, bound = figure.axes
    assert accuracy.get_xlim() == joint.get_xlim() == bound.get_xlim() != strict.get_xlim()


def test_success_curve_counts_faces_that_reach_the_iou():
    faces = pd.DataFrame({"system": "joint", "iou": [0.0, 0.5, 0.8], "iou_calibrated": 0.0})
    faces["iou_calibrated"] = faces["iou"]
    line = comparison.iou_distribution(faces).axes[0].lines[0]
    x, y = line.get_data()
    for threshold in (0.01, 0.5, 0.51, 0.8, 0.81):
        drawn = y[np.searchsorted(x, threshold)]
        assert drawn == pytest.approx(100 * np.mean(faces["iou"] >= threshold))


def test_error_split_of_one_system():
    comparison.error_split(faces_table())


def test_confusion_of_nobody():
    faces = faces_table()
    right = faces.assign(predicted_identity=faces["identity"])
    comparison.confusion(right)
    comparison.confusion(right[:0])


def test_confusion_lists_the_worst_pair_first():
    rows = [("ann", "bob")] * 3 + [("bob", "ann"), ("bob", "bob"), ("", "ann")]
    faces = pd.DataFrame(rows, columns=["identity", "predicted_identity"]).assign(found=True)
    figure = comparison.confusion(faces, ["bob", "ann"], pairs=1)
    texts = [text.get_text() for text in figure.axes[1].texts]
    assert texts[:4] == [
        "4 of 5 faces (80.0 %) taken for another",
        "3",
        "ann → bob",
        "and 1 more pair (equals: by name)",
    ]
    assert figure.axes[0].get_xlabel() == "taken for (2 people)"


def test_stage_times_prints_the_median_of_the_whole():
    rows = [("joint", "network", turn, ms) for turn, ms in enumerate((10.0, 20.0, 90.0))]
    rows += [("joint", "odd stage", turn, 5.0) for turn in range(3)]
    figure = comparison.stage_times(pd.DataFrame(rows, columns=["system", "stage", "turn", "ms"]))
    assert [text.get_text() for text in figure.axes[0].texts] == ["25 ms, 40 FPS"]
    assert max(bar.get_x() + bar.get_width() for bar in figure.axes[0].patches) == pytest.approx(25)


@pytest.mark.parametrize(
    ("limits", "labels"),
    [
        ((0.2, 2000), ["1", "10", "100", "1000"]),
        ((0.9, 30), ["1", "2", "5", "10", "20"]),
        ((90, 400), ["100", "150", "200", "300"]),
    ],
)
def test_logarithmic_axis_has_plain_numbers(limits, labels):
    figure, axis = plt.subplots()
    axis.set_xlim(*limits)
    style.log_ticks(axis)
    figure.draw_without_rendering()
    shown = [
        label.get_text()
        for place, label in zip(axis.get_xticks(), axis.get_xticklabels(), strict=True)
        if limits[0] <= place <= limits[1]
    ]
    assert shown == labels
    assert not any(label.get_text() for label in axis.get_xticklabels(minor=True))
