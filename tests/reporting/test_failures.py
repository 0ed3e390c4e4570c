"""Galleries of failures: which faces are chosen, and what is drawn of them."""

import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from thesislib.reporting.figures import failures, style
from thesislib.reporting.figures.layout import problems

CORNERS = ("x1", "y1", "x2", "y2")


def photo(height=60, width=80):
    ramp = np.linspace(0, 255, height * width * 3)
    return ramp.reshape(height, width, 3).astype(np.uint8)


def face(name, identity, predicted="", box=None, iou=0.8, score=0.9, truth=(10, 10, 30, 30)):
    row = {"photo": name, "identity": identity, "predicted_identity": predicted, "system": "joint"}
    row |= {"found": box is not None, "score": score if box else np.nan}
    row |= {"iou_calibrated": iou if box else 0.0}
    row |= dict(zip([f"true_{corner}" for corner in CORNERS], truth, strict=True))
    return row | dict(zip(CORNERS, box or [np.nan] * 4, strict=True))


BOX = (12, 8, 32, 30)
FACES = pd.DataFrame(
    [
        face("well", "ann", "ann", BOX, iou=0.9),
        face("low", "ann", "ann", BOX, iou=0.2),
        face("missed", "bob"),
        face("wrong", "bob", "ann", BOX, iou=0.5, score=0.6),
        face("surer", "cyd", "bob", BOX, iou=0.7, score=0.95),
        face("again", "bob", "ann", BOX, iou=0.8, score=0.7),
        face("stranger", "", "ann", BOX, iou=0.85, score=1.0),
    ]
)
TRAINING = pd.DataFrame(
    [("ann/1", "ann", 0, 0, 10, 10), ("ann/2", "ann", 20, 10, 50, 40), ("bob/1", "bob", 5, 5, 9, 9),
     ("none", "", np.nan, np.nan, np.nan, np.nan)],
    columns=["photo", "identity", *CORNERS],
)  # fmt: skip


def read(*tables):
    names = {name for table in tables for name in table}
    return dict.fromkeys(names, photo())


def texts(figure):
    return [text.get_text() for text in figure.texts]


def test_the_worst_of_each_kind_come_first():
    worst = failures.worst(FACES)
    chosen = worst.groupby("failure", sort=False)["photo"].agg(list).to_dict()
    assert chosen["missed"] == ["missed"]
    assert chosen["box"] == ["low", "wrong", "surer", "again", "stranger", "well"]
    # A stranger has no right name, so that none is wrong.
    assert chosen["name"] == ["surer", "again", "wrong"]
    assert list(chosen) == list(failures.HEADINGS)


def test_no_more_than_a_row_of_a_kind():
    many = pd.concat([FACES] * 9, ignore_index=True)
    assert failures.worst(many)["failure"].value_counts().tolist() == [failures.COLUMNS] * 3


def test_faces_of_two_systems_are_refused():
    two = pd.concat([FACES, FACES.assign(system="two_stage_face")])
    for choose in (failures.worst, lambda faces: failures.taken_for(faces, TRAINING)):
        with pytest.raises(ValueError, match="several in column system"):
            choose(two)


def test_a_gallery_has_a_row_a_kind_and_boxes_in_the_photos_pixels():
    worst = failures.worst(FACES)
    figure = failures.gallery(read(worst["photo"]), worst)
    assert texts(figure) == list(failures.HEADINGS.values())
    titles = [axis.get_title() for axis in figure.axes]
    assert titles[:2] == ["bob", "ann\nIoU 0.20"]
    assert titles[5] == "a stranger\nIoU 0.85"
    assert titles[7:] == [
        "cyd\n→ bob\nscore 0.95",
        "bob\n→ ann\nscore 0.70",
        "bob\n→ ann\nscore 0.60",
    ]
    found, truth = figure.axes[1].patches
    assert found.get_bbox().extents.tolist() == list(BOX)
    assert truth.get_bbox().extents.tolist() == [10, 10, 30, 30]
    colours = [to_hex(axis.patches[0].get_edgecolor()).upper() for axis in figure.axes]
    assert colours[0] == style.TRUTH  # nothing was found
    assert colours[1] == style.RIGHT
    assert set(colours[7:]) == {style.WRONG}
    assert len(figure.axes[0].patches) == 1


def test_what_is_shown_lies_in_the_photo_and_holds_the_face():
    corners = [(0, 0, 20, 20), (60, 40, 80, 60), (0, 40, 20, 60), (30, 20, 50, 40), (0, 0, 80, 60)]
    faces = [face(str(at), "ann", truth=truth) for at, truth in enumerate(corners)]
    worst = failures.worst(pd.DataFrame(faces))
    figure = failures.gallery(read(worst["photo"]), worst)
    for axis, truth in zip(figure.axes, corners, strict=True):
        (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
        assert 0 <= left < right <= 80 and 0 <= top < bottom <= 60
        assert (left, top) <= (truth[0], truth[1]) or truth == (0, 0, 80, 60)
        assert abs((right - left) - (bottom - top)) <= 1
        assert axis.images[0].get_extent() == [left, right, bottom, top]


def test_where_nothing_fails_it_says_so():
    well = FACES[:1]
    worst = failures.worst(well)
    figure = failures.gallery(read(worst["photo"]), worst)
    headings = list(failures.HEADINGS.values())
    assert texts(figure) == [headings[0], "no such face", headings[1], headings[2], "no such face"]
    nobody = failures.gallery({}, failures.worst(FACES[:0]))
    assert texts(nobody).count("no such face") == 3 and not nobody.axes
    pairs = failures.taken_for(well, TRAINING)
    assert not len(pairs)
    assert texts(failures.confused({}, pairs)) == ["no such face"]


def test_pairs_confused_most_often_come_first_each_with_a_training_face():
    pairs = failures.taken_for(FACES, TRAINING)
    assert pairs["photo"].tolist() == ["again", "surer"]  # the surer of two faces of one pair
    assert pairs["faces"].tolist() == [2, 1]
    assert pairs["other_photo"].tolist() == ["ann/2", "bob/1"]  # the largest
    assert pairs[[f"other_{corner}" for corner in CORNERS]].iloc[0].tolist() == [20, 10, 50, 40]
    figure = failures.confused(read(pairs["photo"], pairs["other_photo"]), pairs)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["bob", "taken for\nann", "cyd", "taken for\nbob"]
    left, right = figure.axes[1].get_xlim()
    assert left < 20 and right > 50


def test_saving_moves_nothing(tmp_path):
    worst = failures.worst(FACES)
    figure = failures.gallery(read(worst["photo"]), worst)
    before = [axis.get_position().bounds for axis in figure.axes]
    with style.house_style(), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for name in ("one.png", "two.pdf"):
            figure.savefig(tmp_path / name)
    assert [axis.get_position().bounds for axis in figure.axes] == before


def test_who_is_called_nobody_is_taken_for_nobody():
    faces = pd.DataFrame([face("unnamed", "ann", "", BOX)])
    worst = failures.worst(faces)
    figure = failures.gallery(read(worst["photo"]), worst)
    assert [axis.get_title() for axis in figure.axes][1] == "ann\n→ nobody\nscore 0.90"
    strangers = TRAINING.assign(identity="")
    assert not len(failures.taken_for(faces, strangers))


def test_a_photo_of_the_table_must_be_there():
    worst, pairs = failures.worst(FACES), failures.taken_for(FACES, TRAINING)
    with pytest.raises(ValueError, match="photos: missed of the table is missing"):
        failures.gallery({}, worst)
    with pytest.raises(ValueError, match="photos: ann/2 of the table is missing"):
        failures.confused(read(pairs["photo"]), pairs)


@pytest.mark.parametrize("language", ["en", "ru"])
def test_long_names_stay_apart(language, monkeypatch):
    monkeypatch.setenv("FIGURES_LANGUAGE", language)
    names = ["Maximiliane-Theodora von Ho", "田中さくら田中さくら"]
    faces = [face("a", names[0]), face("b", names[1])]
    faces += [face(f"{at}", names[at % 2], names[1 - at % 2], BOX) for at in range(6)]
    worst = failures.worst(pd.DataFrame(faces))
    assert problems(failures.gallery(read(worst["photo"]), worst)) == []
    training = pd.DataFrame(
        [(name, name, 5, 5, 25, 25) for name in names], columns=TRAINING.columns
    )
    pairs = failures.taken_for(pd.DataFrame(faces), training)
    figure = failures.confused(read(pairs["photo"], pairs["other_photo"]), pairs)
    assert problems(figure) == []
