"""The two-stage pipeline: what it finds, what its classifier sees, how it is framed."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import DEVICES, noise

from thesislib.baselines import two_stage
from thesislib.baselines.two_stage import FaceStore, TwoStage, cut_face
from thesislib.data import detector
from thesislib.data.images import read_photo
from thesislib.data.loading import Photo, list_photos
from thesislib.data.schema import read_dataset
from thesislib.data.transforms import PADDING, cut_square, resize
from thesislib.engine.embed import embed
from thesislib.engine.predict import predict
from thesislib.metrics.boxes import BoxCalibration, apply_box_calibration
from thesislib.models.face_classifier import FaceClassifier
from thesislib.synthetic import scene

NO_CHANGE = BoxCalibration(0.0, 0.0, 1.0, 1.0)
BOXES = np.array([[10, 20, 30, 40], [50, 10, 70, 34]], np.float32)
SCORES = np.array([0.9, 0.4], np.float32)


@pytest.fixture(scope="module")
def portrait():
    """A photo of a face turned to the camera, and its box."""
    for shot in range(8):
        photo, faces = scene.render_photo(3, 0, shot, size=240)
        if abs(faces[0].factors["yaw"]) < 12:
            return photo, faces[0].box
    raise AssertionError("no frontal shot among eight")


@pytest.fixture
def two_faces(monkeypatch):
    """The detector finds ``BOXES`` in every photo."""
    monkeypatch.setattr(two_stage, "detect_faces", lambda photo, *settings: (BOXES, SCORES))


def classifier(device="cpu"):
    torch.manual_seed(0)
    return FaceClassifier(["a", "b"], 64, "resnet18", embedding_dim=16).eval().to(device)


# --- the detector -----------------------------------------------------------------------------


def test_dlib_finds_nothing_in_a_plain_photo():
    boxes, scores = detector.detect_faces(np.full((120, 160, 3), 90, np.uint8), upsampling=0)
    assert boxes.shape == (0, 4)
    assert scores.shape == (0,)


# --- what the classifier sees -----------------------------------------------------------------


def test_a_cut_takes_the_pixels_of_the_box():
    photo = torch.randint(0, 255, (3, 60, 80), dtype=torch.uint8)
    cut = cut_square(photo, np.array([10, 20, 30, 40]), size=20, margin=1.0)
    assert torch.equal(cut, photo[:, 20:40, 10:30])


def test_a_face_is_cut_out_with_what_is_around_it():
    photo = torch.randint(0, 255, (3, 60, 80), dtype=torch.uint8)
    cut = cut_face(photo, np.array([20, 20, 40, 40]), size=26)  # 1.3 times 20
    assert torch.equal(cut, photo[:, 17:43, 17:43])


@pytest.mark.parametrize("box", [[-30, -30, 10, 10], [70, 50, 110, 90], [-50, -50, -40, -40]])
def test_a_cut_is_padded_beyond_the_photo(box):
    photo = torch.zeros(3, 60, 80, dtype=torch.uint8)
    cut = cut_square(photo, np.array(box), size=16, margin=1.0)
    assert cut.shape == (3, 16, 16)
    assert (cut == PADDING).any()


# --- the whole pipeline -----------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("sees", ["photo", "face"])
def test_every_detected_face_is_named(two_faces, sees, device):
    photo, net = noise(60, 90), classifier(device)
    (faces,) = TwoStage(net, sees, 1, NO_CHANGE).predict_arrays([photo])
    np.testing.assert_array_equal([face.box for face in faces], BOXES)
    np.testing.assert_allclose([face.score for face in faces], SCORES)
    pixels = torch.from_numpy(photo).permute(2, 0, 1).to(device)
    for face, box in zip(faces, BOXES, strict=True):
        whole = resize(pixels, (64, 96))
        seen = whole if sees == "photo" else cut_face(pixels, box, 64)
        with torch.no_grad():
            chances = net(seen[None])[0].softmax(dim=0)
        assert face.name == net.identities[int(chances.argmax())]
        assert face.name_score == pytest.approx(float(chances.max()), abs=1e-4)


def test_faces_are_cut_out_along_the_calibrated_box(two_faces, monkeypatch):
    asked = []

    def noted(photo, box, size):
        asked.append(box)
        return cut_face(photo, box, size)

    monkeypatch.setattr(two_stage, "cut_face", noted)
    framing = BoxCalibration(0.1, -0.05, 1.3, 1.5)
    (faces,) = TwoStage(classifier(), "face", 1, framing).predict_arrays([noise(60, 90)])
    np.testing.assert_allclose(asked, apply_box_calibration(BOXES, framing))
    np.testing.assert_array_equal([face.box for face in faces], BOXES)  # told as dlib framed them


def test_a_detection_below_the_threshold_is_dropped(two_faces):
    system = TwoStage(classifier(), "face", 1, NO_CHANGE)
    (faces,) = system.predict_arrays([noise(60, 90)], score_threshold=0.5)
    assert [face.score for face in faces] == [pytest.approx(0.9)]
    assert system.predict_arrays([noise(60, 90)], score_threshold=9.0) == [[]]
    with pytest.raises(ValueError, match="score_threshold: not a number"):
        system.predict_arrays([noise(60, 90)], score_threshold=float("nan"))


@pytest.mark.parametrize("sees", ["photo", "face"])
def test_without_a_detection_it_says_nothing(sees):
    system = TwoStage(classifier(), sees, 0, NO_CHANGE)
    assert system.predict_arrays([np.full((100, 100, 3), 90, np.uint8)]) == [[]]


def test_it_sees_photo_or_face():
    with pytest.raises(ValueError, match="'shoes' is unknown; choose photo, face, aligned"):
        TwoStage(classifier(), "shoes", 0, NO_CHANGE)


@pytest.mark.parametrize("sees", ["photo", "face"])
def test_stages_in_a_row_are_the_system(portrait, sees):
    photo, _ = portrait
    system = TwoStage(classifier(), sees, 1, NO_CHANGE)
    value = photo
    for _, stage in system.stages:
        value = stage(value)
    (faces,) = system.predict_arrays([photo])
    assert [(face.name, face.score) for face in value] == [(f.name, f.score) for f in faces] != []


def test_names_at_annotated_boxes_are_those_of_the_faces_cut_out(party):
    dataset, net = read_dataset(party), classifier()
    table = dataset.table[dataset.table["x1"].notna()]
    photo, rows = next((p, r) for p, r in table.groupby("photo") if len(r) == 3)
    pixels, boxes = read_photo(dataset.folder / photo), rows[["x1", "y1", "x2", "y2"]].to_numpy()
    names = TwoStage(net, "face", 1, NO_CHANGE).identify_boxes([pixels, pixels], [boxes, boxes[:0]])
    image = torch.from_numpy(pixels).permute(2, 0, 1)
    with torch.no_grad():
        best = [int(net(cut_face(image, box, 64)[None]).argmax()) for box in boxes]
    assert names == [[net.identities[at] for at in best], []]


def test_embeddings_are_those_of_the_faces_cut_out(party):
    dataset, net = read_dataset(party), classifier()
    found = embed(TwoStage(net, "face", 1, NO_CHANGE), dataset)
    at = 0
    for row in dataset.table[dataset.table["x1"].notna()].itertuples():
        pixels = torch.from_numpy(read_photo(dataset.folder / row.photo)).permute(2, 0, 1)
        with torch.no_grad():
            alone = net.embed(cut_face(pixels, [row.x1, row.y1, row.x2, row.y2], 64)[None])[0]
        np.testing.assert_allclose(found[at], alone.numpy(), rtol=1e-3, atol=1e-4)
        at += 1
    assert len(found) == at > 20


def test_photos_together_and_alone_give_the_same(party, two_faces):
    system = TwoStage(classifier(), "face", 1, NO_CHANGE)
    several = predict(system, party / "photos", 0.0)
    assert len(several) == 14
    for file, faces in zip(sorted((party / "photos").rglob("*.png")), several, strict=True):
        alone = predict(system, file, 0.0)
        assert [(f.name, f.score) for f in faces] == [(f.name, f.score) for f in alone]


# --- framing and training faces ---------------------------------------------------------------


def test_calibration_recovers_a_planted_change():
    rng = np.random.default_rng(0)
    photos, rows = [], []
    planted = BoxCalibration(0.1, -0.05, 1.3, 1.5)
    for at in range(20):
        corner, size = rng.uniform(20, 60, 2), rng.uniform(30, 60, 2)
        detected = np.concatenate([corner, corner + size]).astype(np.float32)
        truth = apply_box_calibration(detected[None], planted)
        name = f"{at}.jpg"
        rows.append([name, 1.0, *detected])
        photos.append(Photo(name, torch.tensor(truth), torch.tensor([0]), (200, 200)))
    nobody = Photo("20.jpg", torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), (200, 200))
    table = pd.DataFrame(rows, columns=detector.DETECTION_COLUMNS)
    assert np.allclose(two_stage.calibrate(table, [*photos, nobody]), planted, atol=1e-4)


def test_calibration_without_detections_is_an_error():
    photo = Photo("a.jpg", torch.tensor([[1.0, 1, 9, 9]]), torch.tensor([0]), (10, 10))
    empty = pd.DataFrame(columns=detector.DETECTION_COLUMNS)
    with pytest.raises(ValueError, match="no annotated face of the training photos was found"):
        two_stage.calibrate(empty, [photo])


def test_a_training_face_is_the_detected_one_where_there_is_one(party):
    dataset = read_dataset(party)
    photos = list_photos(dataset, dataset.identities)
    shown = next(photo for photo in photos if len(photo.boxes) == 3)
    box = shown.boxes[1].numpy() + np.array([2, 1, 2, 1])  # IoU above a half
    beside = np.array([80, 60, 90, 70], np.float32)
    table = pd.DataFrame(
        [[shown.name, 1.0, *box], [shown.name, 0.5, *beside]], columns=detector.DETECTION_COLUMNS
    )
    store = FaceStore(dataset.folder, photos, table, NO_CHANGE, 24, progress=False)
    faces = [(photo, at) for photo in photos for at in range(len(photo.boxes))]
    assert len(store) == len(store.photos) == len(faces) == 22
    for stored, (photo, at) in enumerate(faces):
        pixels = torch.from_numpy(read_photo(dataset.folder / photo.name)).permute(2, 0, 1)
        found = photo is shown and at == 1
        expected = cut_face(pixels, box if found else photo.boxes[at].numpy(), 24)
        assert torch.equal(store[stored], expected)
        assert store.photos[stored].identities.tolist() == [int(photo.identities[at])]
        assert store.photos[stored].boxes.tolist() == [[0, 0, 24, 24]]
