"""A click names a person, and the others are tried again."""

import numpy as np
import pytest
from blocks import BORIS, Blocks, knows_anna, three_photos, write

from thesislib.deploy.photo_faces import PhotoFaces
from thesislib.widgets.face_namer import FaceNamer


@pytest.fixture
def photos(tmp_path):
    folder = three_photos(tmp_path / "мои фото")
    return folder


@pytest.fixture
def gallery():
    return knows_anna()


def shown(namer):
    """Of each row the number of faces shown, and its words."""
    rows = []
    for row in namer.people.children:
        *pictures, side = row.children
        rows.append((len(pictures), side.children[0].value))
    return rows


def test_a_click_names_a_person_and_the_others_are_tried_again(photos, gallery):
    write(photos / "d.png", BORIS)
    told = []
    namer = FaceNamer(PhotoFaces.find(Blocks(), photos), gallery, changed=lambda: told.append(1))
    assert shown(namer) == [(2, "2 faces"), (2, "2 faces")]
    side = namer.people.children[1].children[-1]
    side.children[1].value = " Vera "
    side.children[2].click()
    assert gallery.identities == ["Anna", "Vera"] and told == [1]
    assert namer.message.value == "2 faces named"
    assert shown(namer) == [(2, "2 faces")]
    side = namer.people.children[0].children[-1]
    side.children[2].click()  # without a name
    assert "this is no name" in namer.message.value and told == [1]
    assert side.children[1].options == ("Anna", "Vera")
    with pytest.raises(ValueError, match="there is no group 7"):
        namer.name(7, "Boris")


def test_faces_like_the_one_that_was_named_get_the_name_too(photos, gallery):
    # At 45 and 58 degrees one person; at 30 like the first, but less so like both on average.
    write(photos / "a" / "2.png", (34, 106, 170))
    write(photos / "d.png", (34, 139, 80))
    gallery.threshold = 0.94
    faces = PhotoFaces.find(Blocks(), photos)
    namer = FaceNamer(faces, gallery)
    assert namer.table["group"].tolist() == [-1, 0, 0, 1, 2]
    group = namer.table.loc[namer.table["photo"] == "a/2.png", "group"].iloc[0]
    namer.name(int(group), "Vera")
    named = namer.table.loc[namer.table["name"] == "Vera", "photo"].tolist()
    assert named == ["a/1.png", "a/2.png", "d.png"]


def test_among_more_people_the_gallery_is_calibrated_again(photos, gallery):
    angles = np.radians(np.linspace(0, 90, 100))
    strangers = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    before = gallery.calibrate(strangers, fpir=0.15)
    namer = FaceNamer(PhotoFaces.find(Blocks(), photos), gallery, strangers)
    namer.name(0, "Vera")
    after = gallery.calibration
    assert after.people == 2 and after.fpir <= before.fpir <= 0.15
    assert after.threshold > before.threshold
    gallery.threshold = 0.97  # chosen by hand, it stays
    namer.name(0, "Boris")
    assert gallery.threshold == 0.97


def test_where_it_cannot_be_calibrated_again_the_threshold_stays(photos, gallery):
    angles = np.radians(np.linspace(0, 90, 100))
    strangers = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    before = gallery.calibrate(strangers, fpir=0.15)
    namer = FaceNamer(PhotoFaces.find(Blocks(), photos), gallery)  # and of Blocks nothing is known
    namer.name(0, "Vera")
    assert gallery.threshold == before.threshold and gallery.calibration is None
    assert "the threshold stays as it was" in namer.message.value
    assert gallery.templates.names.count("Vera") == 2
