"""The report of a system against measures computed with plain loops."""

import numpy as np
import pandas as pd
import pytest
from conftest import NO_BOX, face

from thesislib.data.schema import read_dataset
from thesislib.engine.evaluate import evaluate
from thesislib.faces import Face
from thesislib.metrics.boxes import BoxCalibration


class Scripted:
    """Answers photo after photo as told."""

    def __init__(self, answers):
        self.answers = list(answers)

    def predict_arrays(self, photos, score_threshold):
        return [self.answers.pop(0) for _ in photos]


def found(name, box, score=0.9):
    return Face(np.array(box, dtype=np.float32), score, name, 0.5)


BOX = (5, 4, 25, 24)


@pytest.fixture
def dataset(write_dataset):
    """Six photos: one of two people, one of nobody, one of somebody nobody knows."""
    rows = [face(f"{at}.png", name) for at, name in enumerate(["001", "001", "NA"])]
    rows += [face("3.png", "001"), face("3.png", "NA", (27, 4, 47, 24))]
    rows += [face("4.png", "", NO_BOX), face("5.png", "")]
    return read_dataset(write_dataset(rows))


@pytest.fixture
def report(dataset):
    answers = [
        [found("001", BOX)],  # right
        [found("NA", BOX)],  # wrong name
        [],  # missed
        [found("001", (5, 4, 25, 14), 0.6), found("NA", (27, 4, 47, 24), 0.8)],  # IoU 0.5 and 1
        [found("001", BOX)],  # a face where there is none
        [found("001", BOX)],  # somebody nobody knows: no name is right
    ]
    return evaluate(Scripted(answers), dataset)


def test_the_measures_against_what_one_counts_by_hand(report):
    # Of five known faces those of photo 0 and both of photo 3.
    assert report.joint_accuracy(0.5) == pytest.approx(3 / 5)
    assert report.joint_accuracy(0.75) == pytest.approx(2 / 5)
    # Of four photos that show somebody known, 0 and 3 (the surer detection is NA's).
    assert report.accuracy() == pytest.approx(2 / 4)
    assert report.mean_iou() == pytest.approx((1 + 1 + 0 + 1 + 1) / 5)
    assert report.mean_iou_found() == pytest.approx(1)
    assert 0 < report.average_precision("ap50_95") < report.average_precision("ap50") <= 1


def test_a_photo_of_people_nobody_knows_does_not_count_against_the_names(report):
    assert len(report.photos) == 5 and report.photos["known"].sum() == 4
    assert report.photos.set_index("photo")["known"]["5.png"] == False  # noqa: E712


def test_the_table_has_an_interval_over_people_around_each_value(report):
    table = report.table(seed=0).set_index("metric")
    assert {"accuracy", "joint_accuracy_50", "mean_iou", "ap50"} <= set(table.index)
    assert table["n"]["joint_accuracy_50"] == 5 and table["n"]["accuracy"] == 4
    shares = table.drop(["ap50", "ap50_95"]).dropna(subset="low")
    assert ((shares["low"] <= shares["value"]) & (shares["value"] <= shares["high"])).all()


def test_people_nobody_knows_are_not_one_person(dataset):
    """In the bootstrap each unknown face is drawn with its photo, not with all other unknowns."""
    from thesislib.engine.evaluate import _units

    report = evaluate(Scripted([[]] * 6), dataset)
    units = _units(report.faces, "identity")
    assert sorted(set(units)) == ["001", "NA", "photo 5.png"]


def test_a_calibration_moves_the_boxes_before_they_are_judged(dataset):
    lower = (5, 14, 25, 34)
    answers = [[found("001", lower)] for _ in range(6)]
    raised = BoxCalibration(dx=0.0, dy=-0.5, sw=1.0, sh=1.0)
    raw = evaluate(Scripted([list(a) for a in answers]), dataset)
    report = evaluate(Scripted(answers), dataset, raised)
    assert raw.joint_accuracy(0.5) == 0
    assert report.joint_accuracy(0.5) == pytest.approx(3 / 5)
    assert report.joint_accuracy(0.5, calibrated=False) == 0


def test_a_system_that_cannot_name_given_boxes_has_no_oracle(report):
    with pytest.raises(ValueError, match="does not name given boxes"):
        report.oracle_box_accuracy()


def test_oracle_boxes_are_asked_of_a_system_that_can(dataset):
    class Knows(Scripted):
        def identify_boxes(self, photos, boxes):
            return [["001"] * len(faces) for faces in boxes]

    report = evaluate(Knows([[]] * 6), dataset)
    assert report.oracle_box_accuracy() == pytest.approx(3 / 5)
    assert report.joint_accuracy(0.5) == 0


@pytest.mark.filterwarnings("error")
def test_where_nobody_is_named_finding_is_measured_and_names_are_left_out(write_dataset):
    rows = [face("0.png", ""), face("1.png", ""), face("1.png", "", (27, 4, 47, 24))]
    nobody = read_dataset(write_dataset([*rows, face("2.png", "", NO_BOX)]))

    class Names(Scripted):
        def identify_boxes(self, photos, boxes):
            return [["anna"] * len(faces) for faces in boxes]

    report = evaluate(Names([[found("anna", BOX)], [found("", BOX)], []]), nobody)
    table = report.table().set_index("metric")
    assert list(table.index) == [
        "mean_iou", "mean_iou_found", "mean_iou_calibrated", "recall_50", "ap50", "ap50_95"
    ]  # fmt: skip
    assert table["value"].to_dict() == pytest.approx(
        {"mean_iou": 1, "mean_iou_found": 1, "mean_iou_calibrated": 2 / 3, "recall_50": 2 / 3}
        | {name: report.average_precision(name) for name in ("ap50", "ap50_95")}
    )
    assert 0.6 < report.average_precision("ap50") < 0.7  # two faces of three
    assert np.isnan(
        [report.joint_accuracy(), report.accuracy(), report.oracle_box_accuracy()]
    ).all()


def test_a_folders_name_is_no_dataset(dataset):
    for folder in (str(dataset.folder), dataset.folder, dataset.table):
        with pytest.raises(TypeError, match=r"expected a Dataset, as tl\.read_dataset\(\.\.\.\)"):
            evaluate(Scripted([]), folder)


def test_measures_that_are_asked_for_alone_are_as_they_are_among_all(report):
    every = report.table(seed=0)
    for asked in (["accuracy"], ["ap50_95", "mean_iou"], ["ap50"]):
        rows = report.table(seed=0, metrics=asked)
        expected = every[every["metric"].isin(asked)].reset_index(drop=True)
        pd.testing.assert_frame_equal(rows, expected)
