"""Faces of a folder are found once, and named as the gallery grows."""

import pytest
from blocks import Blocks, knows_anna, three_photos, write

from thesislib.deploy.gallery import Gallery
from thesislib.deploy.photo_faces import PhotoFaces


@pytest.fixture
def photos(tmp_path):
    folder = three_photos(tmp_path / "мои фото")
    write(folder / "c.png")
    return folder


@pytest.fixture
def gallery():
    return knows_anna()


def test_faces_are_named_and_put_together(photos, gallery):
    found = PhotoFaces.find(Blocks(), photos)
    table = found.named(gallery)
    assert table["photo"].tolist() == ["a/1.png", "a/1.png", "a/2.png", "b.png"]
    assert table["name"].tolist() == ["Anna", "", "", ""]
    assert table["group"].tolist() == [-1, 0, 0, 1]
    assert table["name_score"].iloc[0] == pytest.approx(1)
    gallery.enrol_embeddings("Vera", found.embeddings[2])
    assert found.named(gallery)["name"].tolist() == ["Anna", "Vera", "Vera", ""]


def test_what_cannot_be_named_is_told(photos, tmp_path):
    write(tmp_path / "empty" / "c.png")
    with pytest.raises(ValueError, match="no face in 1 photos"):
        PhotoFaces.find(Blocks(), tmp_path / "empty")
    with pytest.raises(ValueError, match="the gallery is empty"):
        PhotoFaces.find(Blocks(), photos).named(Gallery(Blocks()))


def test_small_faces_are_one_person_each(photos, gallery):
    small = (20, 120, 120)
    write(photos / "a" / "2.png", small)
    write(photos / "d.png", small)
    table = PhotoFaces.find(Blocks(), photos).named(gallery)
    assert table["name"].tolist() == ["Anna", "", "", "", ""]
    assert table["group"].tolist() == [-1, 0, 2, 1, 3]
