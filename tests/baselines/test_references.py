"""References learn nothing: each against a naive loop, on photos made for it."""

import numpy as np
import pytest
from conftest import face, noise
from PIL import Image

from thesislib.baselines.references import (
    ConstantBox,
    Described,
    EnrolledByDlib,
    FacesAlike,
    NearestNames,
    NearestPhoto,
    cut_out,
    hog,
    thumbnail,
)
from thesislib.data.schema import read_dataset
from thesislib.engine.evaluate import evaluate


@pytest.fixture
def dataset(write_dataset):
    rows = [
        face("photos/a.png", "anna", (8, 4, 28, 24)),
        face("photos/b.png", "boris", (12, 8, 32, 28)),
        face("photos/c.png", "", (4, 4, 24, 24)),
    ]
    return read_dataset(write_dataset(rows))


def grey(photo):
    return np.asarray(Image.fromarray(photo).convert("L"), dtype=float)


def test_a_thumbnail_is_the_mean_of_blocks_less_their_mean():
    photo = noise(64, 96)
    pixels, small = grey(photo), np.zeros((32, 32))
    for y in range(32):
        for x in range(32):
            small[y, x] = pixels[2 * y : 2 * y + 2, 3 * x : 3 * x + 3].mean()
    centred = small.ravel() - small.mean()
    expected = centred / np.sqrt((centred**2).sum())
    # Grey levels are whole numbers: half a level of 1024 is far below what tells photos apart.
    assert expected @ thumbnail(photo) > 0.9995
    assert not thumbnail(np.full((40, 50, 3), 77, np.uint8)).any()


def test_gradients_of_a_face_do_not_change_with_its_brightness():
    photo = noise(64, 64) // 2
    vector = hog(photo)
    assert vector.shape == (7 * 7 * 4 * 9,)
    np.testing.assert_allclose(hog(photo + 40), vector, atol=1e-6)
    assert np.abs(hog(photo[:, ::-1]) - vector).max() > 0.1


@pytest.mark.parametrize(
    ("box", "shape"),
    [((2, 3, 10, 9), (6, 8)), ((-5, -5, 4.2, 4.2), (5, 5)), ((90, 90, 95, 95), (1, 1))],
    ids=str,
)
def test_what_is_cut_out_lies_in_the_photo(box, shape):
    assert cut_out(noise(20, 30), box).shape[:2] == shape


def test_names_are_those_of_the_nearest_face_or_mean():
    rng = np.random.default_rng(0)
    vectors, names = rng.normal(size=(30, 5)), [f"p{at % 4}" for at in range(30)]
    probes = rng.normal(size=(20, 5))
    nearest = NearestNames(vectors, names, "nearest").of(probes)
    mean = NearestNames(vectors, names, "class_mean").of(probes)
    means = {
        name: np.mean([v for v, n in zip(vectors, names, strict=True) if n == name], axis=0)
        for name in names
    }
    for at, probe in enumerate(probes):
        distances = [np.sqrt(((probe - vector) ** 2).sum()) for vector in vectors]
        assert nearest[at] == names[int(np.argmin(distances))]
        assert mean[at] == min(means, key=lambda name: np.linalg.norm(probe - means[name]))
    assert NearestNames(vectors, names, "nearest").of(np.empty((0, 5))) == []
    with pytest.raises(ValueError, match="0 vectors and 0 names"):
        NearestNames([], [], "nearest")


def test_the_nearest_photo_is_copied_with_all_that_is_annotated_in_it(dataset):
    reference = NearestPhoto(dataset)
    photo = np.asarray(Image.open(dataset.folder / "photos/b.png").convert("RGB"))
    doubled = photo.repeat(2, axis=0).repeat(2, axis=1)
    ((found,),) = reference.predict_arrays([doubled])
    assert found.name == "boris"
    np.testing.assert_allclose(found.box, [24, 16, 64, 56])
    given = [np.array([[0.0, 0, 5, 5], [30, 20, 60, 50]]), np.empty((0, 4))]
    assert reference.identify_boxes([doubled, photo], given) == [["boris"] * 2, []]


def test_a_constant_box_is_the_median_share_of_the_photo(dataset):
    ((found,),) = ConstantBox(dataset).predict_arrays([noise(32, 48)])
    np.testing.assert_allclose(found.box, [8, 4, 28, 24], atol=1e-4)
    assert found.name == ""


@pytest.mark.parametrize("describe", [thumbnail, hog])
def test_faces_are_named_by_those_that_look_alike(dataset, describe):
    reference = FacesAlike(dataset, describe, "nearest")
    report = evaluate(reference, dataset)
    assert report.oracle_box_accuracy() == 1
    assert report.accuracy() == 0  # it finds no face


class Pipeline:
    """In the place of dlib: two faces in every photo."""

    def found(self, photo, score_threshold):
        boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], np.float32)
        return boxes, np.array([2.0, 1.0]), np.array([[1.0, 0.0], [0.0, 3.0]])

    def embeddings_at(self, photos, boxes):
        return [np.array([[0.0, 2.0]] * len(own)).reshape(-1, 2) for own in boxes]


def test_dlibs_faces_are_named_by_the_distance_of_embeddings_as_they_are():
    """Not by their cosine: [0, 3] is nearer to [1, 2] than to [0, 9]."""
    system = EnrolledByDlib(
        Pipeline(), [[1.0, 0.0], [1.0, 2.0], [0.0, 9.0]], ["a", "b", "c"], "nearest"
    )
    (faces,) = system.predict_arrays([noise(32, 48)])
    assert [(found.name, found.score) for found in faces] == [("a", 2.0), ("b", 1.0)]
    assert system.identify_boxes([noise(32, 48)] * 2, [np.zeros((1, 4)), np.zeros((0, 4))]) == [
        ["b"],
        [],
    ]


def test_descriptors_stand_in_for_embeddings():
    photo, boxes = noise(32, 48, seed=3), np.array([[8.0, 4, 28, 24], [0, 0, 10, 10]])
    (faces,) = Described(thumbnail).embeddings_at([photo], [boxes])
    for row, (x1, y1, x2, y2) in zip(faces, boxes.astype(int), strict=True):
        np.testing.assert_allclose(row, thumbnail(photo[y1:y2, x1:x2]), rtol=1e-6)
    (whole,) = Described(thumbnail, whole_photo=True).embeddings_at([photo], [boxes])
    np.testing.assert_allclose(whole, np.stack([thumbnail(photo)] * 2), rtol=1e-6)
    (grey,) = Described(thumbnail).embeddings_at([np.full_like(photo, 9)], [boxes])
    assert np.isnan(grey).all()  # of one grey there is nothing to compare
