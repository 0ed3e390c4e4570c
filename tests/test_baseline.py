"""The two-stage baseline and the systems' common interface, on synthetic people."""

import numpy as np
import pandas as pd
import pytest
import torch

from thesislib.baselines import two_stage
from thesislib.baselines.two_stage import TwoStage
from thesislib.data import detector, transforms
from thesislib.data.loading import Photo
from thesislib.data.transforms import PADDING
from thesislib.engine.systems import Joint
from thesislib.metrics.boxes import BoxCalibration, apply_box_calibration, box_iou
from thesislib.models.face_classifier import FaceClassifier
from thesislib.models.joint import JointNet
from thesislib.synthetic import scene

NO_CHANGE = BoxCalibration(0.0, 0.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def portrait():
    for shot in range(8):
        photo, faces = scene.render_photo(3, 0, shot, size=240)
        if abs(faces[0].factors["yaw"]) < 12:
            return photo, faces[0].box
    raise AssertionError("no frontal shot among eight")


def test_dlib_finds_the_face(portrait):
    photo, box = portrait
    boxes, scores = detector.detect_faces(photo, upsampling=1)
    assert boxes.dtype == scores.dtype == np.float32
    assert (np.diff(scores) <= 0).all()
    assert box_iou(boxes, box[None]).max() > 0.4


def test_dlib_finds_nothing_in_a_plain_photo():
    boxes, scores = detector.detect_faces(np.full((120, 160, 3), 90, np.uint8), upsampling=0)
    assert boxes.shape == (0, 4)
    assert scores.shape == (0,)


def test_cut_face_takes_the_pixels_of_the_box():
    photo = torch.randint(0, 255, (3, 60, 80), dtype=torch.uint8)
    cut = transforms.cut_face(photo, np.array([10, 20, 30, 40]), size=20, margin=1.0)
    assert torch.equal(cut, photo[:, 20:40, 10:30])


@pytest.mark.parametrize("box", [[-30, -30, 10, 10], [70, 50, 110, 90], [-50, -50, -40, -40]])
def test_cut_face_is_padded_beyond_the_photo(box):
    photo = torch.zeros(3, 60, 80, dtype=torch.uint8)
    cut = transforms.cut_face(photo, np.array(box), size=16, margin=1.0)
    assert cut.shape == (3, 16, 16)
    assert (cut == PADDING).any()


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
    table = pd.DataFrame(rows, columns=detector.DETECTION_COLUMNS)
    assert np.allclose(two_stage.calibrate(table, photos), planted, atol=1e-4)


def test_calibration_without_detections_is_an_error():
    photo = Photo("a.jpg", torch.tensor([[1.0, 1, 9, 9]]), torch.tensor([0]), (10, 10))
    empty = pd.DataFrame(columns=detector.DETECTION_COLUMNS)
    with pytest.raises(ValueError, match="dlib found no annotated face"):
        two_stage.calibrate(empty, [photo])


def classifier():
    torch.manual_seed(0)
    return FaceClassifier(["a", "b"], "resnet18", embedding_dim=16)


@pytest.mark.parametrize("sees", ["photo", "face"])
def test_two_stage_answers_in_the_common_form(portrait, sees):
    photo, _ = portrait
    system = TwoStage(classifier(), sees, 64, 1, NO_CHANGE)
    answer = system(photo)
    count = len(answer["scores"])
    assert system.name == f"two_stage_{sees}"
    assert count >= 1
    assert answer["boxes"].shape == (count, 4)
    assert len(answer["identities"]) == count
    assert set(answer["identities"]) <= {"a", "b"}


@pytest.mark.parametrize("sees", ["photo", "face"])
def test_two_stage_without_a_detection_says_nothing(sees):
    system = TwoStage(classifier(), sees, 64, 0, NO_CHANGE)
    answer = system(np.full((100, 100, 3), 90, np.uint8))
    assert answer["boxes"].shape == (0, 4)
    assert answer["identities"] == []


def test_two_stage_sees_photo_or_face():
    with pytest.raises(ValueError, match="'photo' or 'face'"):
        TwoStage(classifier(), "shoes", 64, 0, NO_CHANGE)


def test_joint_system_answers_in_pixels_of_the_photo():
    torch.manual_seed(0)
    net = JointNet(["a", "b"], [[30.0, 30.0]], "resnet18", pooling=1, embedding_dim=16).eval()
    net.score_threshold = 0.0
    photo = np.random.default_rng(0).integers(0, 255, (150, 200, 3), dtype=np.uint8)
    answer = Joint(net, 75)(photo)
    scaled = net.detect([torch.from_numpy(photo).permute(2, 0, 1)])  # same contract, other scale
    assert set(scaled[0]) >= {"boxes", "scores", "identities", "embeddings"}
    assert len(answer["boxes"]) == len(answer["scores"]) == len(answer["identities"]) > 0
    assert (answer["boxes"][:, 2:] <= [200, 150]).all()
    assert answer["boxes"][:, 2].max() > 75  # beyond what the network's own scale could give


def test_stages_in_a_row_are_the_system(portrait):
    photo, _ = portrait
    system = TwoStage(classifier(), "face", 64, 1, NO_CHANGE)
    value = photo
    for _, stage in system.stages:
        value = stage(value)
    assert value["identities"] == system(photo)["identities"]
