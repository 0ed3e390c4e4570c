"""A folder of people becomes a gallery; what cannot serve is told."""

import numpy as np
import pytest
from blocks import ANNA, BORIS, Blocks, write

from thesislib.deploy import enrolment
from thesislib.deploy.enrolment import foremost, person_of
from thesislib.deploy.gallery import Gallery
from thesislib.faces import Face


@pytest.fixture
def folder(tmp_path):
    people = tmp_path / "мои люди"
    write(people / "Анна" / "1.png", ANNA)
    write(people / "Анна" / "2020" / "2.png", (12, 20, 200), ANNA)  # somebody behind her
    write(people / "Анна" / "3.png", ANNA, BORIS)
    write(people / "Анна" / "4.png")
    write(people / "Boris.png", BORIS)
    (people / "Анна" / "notes.txt").write_text("of 2020")
    return people


def test_everybody_with_a_folder_or_a_photo_is_enrolled(folder):
    gallery = Gallery(Blocks())
    remarks = gallery.enrol_folder(folder)
    assert gallery.identities == ["Boris", "Анна"] and len(gallery) == 3
    # Blocks are poor faces, and there are no others.
    assert [one.photo.name for one in remarks if one.enrolled] == ["Boris.png", "1.png", "2.png"]
    assert [(one.photo.name, one.reason) for one in remarks if not one.enrolled] == [
        ("3.png", "2 faces, none of them clearly the largest; cut one out"),
        ("4.png", "no face was found"),
    ]
    names, _ = gallery.identify([[200, 20], [20, 200]], threshold=0.999)
    assert names == ["Анна", "Boris"]
    with pytest.raises(ValueError, match=r"Анна.*: no face was found"):  # scores are 0.9 at most
        Gallery(Blocks()).enrol_folder(folder, score_threshold=0.95)


def test_a_folder_that_holds_nobody_is_told(folder, tmp_path):
    gallery = Gallery(Blocks())
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder of people"):
        gallery.enrol_folder(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: no photos in it"):
        gallery.enrol_folder(tmp_path / "empty")
    with pytest.raises(ValueError, match="score_threshold"):
        gallery.enrol_folder(folder, score_threshold=2)
    assert not len(gallery)


def test_a_photo_that_cannot_be_read_is_left_out(folder):
    (folder / "Vera").mkdir()
    (folder / "Vera" / "torn.jpg").write_bytes(b"\xff\xd8\xff torn")
    gallery = Gallery(Blocks())
    remarks = gallery.enrol_folder(folder)
    told = {one.photo.name: one.reason for one in remarks if not one.enrolled}
    assert "not an image" in told["torn.jpg"] and told["4.png"] == "no face was found"
    assert gallery.identities == ["Boris", "Анна"]


def test_a_poor_photo_serves_where_there_is_no_better_one(folder, monkeypatch):
    poor = {(60, 80): ["small", "dark"]}  # of two bands
    monkeypatch.setattr(
        enrolment, "doubts", lambda photo, face, read_px: poor.get(photo.shape[:2], [])
    )
    write(folder / "Vera" / "1.png", (12, 20, 200), (34, 90, 90))
    gallery = Gallery(Blocks())
    told = {one.photo.name: str(one) for one in gallery.enrol_folder(folder)}
    assert told["2.png"].endswith("2.png is left out: the face is small and dark")
    assert told["1.png"].endswith(
        "1.png is used, as there is no better one of this person: the face is small and dark"
    )
    assert gallery.templates.names.count("Анна") == 1 and "Vera" in gallery.identities


def test_whose_photo_it_is(tmp_path):
    assert person_of(tmp_path / "Anna" / "a" / "b.jpg", tmp_path) == "Anna"
    assert person_of(tmp_path / "Anna.B.jpg", tmp_path) == "Anna.B"


def test_the_foremost_face_is_clearly_the_largest():
    def face(side):
        return Face(np.float32([0, 0, side, side]), 0.9)

    large, small = face(30), face(19)
    assert foremost([small, large]) is large
    assert foremost([small, large, face(21)]) == (
        "3 faces, none of them clearly the largest; cut one out"
    )
    assert foremost([small]) is small
