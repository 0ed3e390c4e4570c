"""Edits of boxes are checked, written whole, and the first version is kept."""

import numpy as np
import pytest
from PIL import Image

from thesislib import storage
from thesislib.data.columns import BOX
from thesislib.data.schema import DatasetError, read_dataset
from thesislib.widgets.annotator import BEFORE_EDITS, Annotator, drop_box, replace_box

ROWS = """photo,identity,session,width,height,x1,y1,x2,y2,box_source
1.png,anna,,48,32,5.0,4.0,25.0,24.0,detector
2.png,boris,,48,32,6.0,4.0,26.0,24.0,annotation
2.png,,,48,32,28.0,4.0,44.0,20.0,detector
"""


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("1.png", "2.png"):
        Image.fromarray(rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "annotations.csv").write_text(ROWS)
    return tmp_path


def test_dropping_one_of_two_leaves_the_other(folder):
    table = read_dataset(folder).table
    left = drop_box(table, 1)
    assert left["photo"].tolist() == ["1.png", "2.png"]
    assert left["x1"].tolist() == [5.0, 28.0]
    assert len(table) == 3


def test_dropping_the_only_face_leaves_the_photo(folder):
    left = drop_box(read_dataset(folder).table, 0)
    assert left["photo"].tolist() == ["1.png", "2.png", "2.png"]
    assert left["identity"][0] == "" and left.loc[0, BOX].isna().all()


def test_a_replaced_box_counts_as_drawn_by_hand(folder):
    rows = replace_box(read_dataset(folder).table, 0, [1.0, 2.0, 30.0, 31.0])
    assert rows.loc[0, BOX].tolist() == [1.0, 2.0, 30.0, 31.0]
    assert rows["box_source"].tolist() == ["annotation", "annotation", "detector"]


def test_paging_shows_photo_after_photo(folder):
    shown = Annotator(folder)
    assert shown.photo == "1.png" and len(shown.face.options) == 1
    first = shown.picture.value
    shown.before.click()
    assert shown.photo == "1.png"
    shown.after.click()
    shown.after.click()
    assert shown.photo == "2.png" and shown.picture.value != first
    assert [label for label, _ in shown.face.options] == ["1: boris", "2: unknown"]
    shown.face.value = 2
    assert [number.value for number in shown.numbers] == [28, 4, 44, 20]


def test_edits_are_saved_and_the_first_version_kept(folder):
    shown = Annotator(folder)
    shown.numbers[0].value = 8.0
    shown.replace.click()
    assert "saved" in shown.message.value
    assert read_dataset(folder).table["x1"].tolist() == [8.0, 6.0, 28.0]
    shown.after.click()
    shown.drop.click()
    assert read_dataset(folder).table["x1"].tolist() == [8.0, 28.0]
    shown.drop.click()
    assert shown.drop.disabled and "no face" not in shown.face.options
    assert (folder / BEFORE_EDITS).read_text() == ROWS
    again = Annotator(folder, ["2.png"])
    assert not again.face.options and "no face" in again.message.value


def test_a_box_that_breaks_the_form_is_refused_and_nothing_written(folder):
    shown = Annotator(folder)
    shown.numbers[2].value = 1.0
    shown.replace.click()
    assert "not changed" in shown.message.value and "row 2 (1.png): box is inverted" in (
        shown.message.value
    )
    assert (folder / "annotations.csv").read_text() == ROWS
    assert not (folder / BEFORE_EDITS).exists()


def test_a_folder_in_use_is_told_and_nothing_written(folder):
    shown = Annotator(folder)
    with storage.folder_lock(folder):
        shown.drop.click()
    assert "not changed" in shown.message.value
    assert (folder / "annotations.csv").read_text() == ROWS


def test_a_photo_that_is_not_there_is_named(folder):
    with pytest.raises(DatasetError, match=r"3\.png is not in it"):
        Annotator(folder, ["3.png"])
    with pytest.raises(DatasetError, match="no photos given"):
        Annotator(folder, [])


def test_faces_of_a_photo_are_named_one_after_another(folder):
    shown = Annotator(folder, ["2.png"])
    assert shown.name.value == "boris"
    shown.face.value = 2
    shown.name.value = " Анна  Ким "
    shown.rename.click()
    assert read_dataset(folder).table["identity"].tolist() == ["anna", "boris", "Анна Ким"]
    assert shown.face.value == 2 and shown.face.options[1][0] == "2: Анна Ким"
    shown.name.value = "boris"
    shown.rename.click()
    assert "not changed" in shown.message.value and "same identity 'boris'" in shown.message.value
    shown.name.value = ""
    shown.rename.click()
    assert read_dataset(folder).table["identity"].tolist() == ["anna", "boris", ""]
    shown.drop.click()
    shown.drop.click()
    assert shown.rename.disabled and shown.name.value == ""
