"""Systems are trained once, and two trainings that differ never share a folder."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import face, noise
from PIL import Image

from thesislib import paths
from thesislib.baselines.detector_settings import DetectorSettings
from thesislib.data.columns import BOX
from thesislib.data.detector import DETECTION_COLUMNS
from thesislib.engine import checkpoint, train
from thesislib.experiments import config as configs
from thesislib.experiments import systems
from thesislib.experiments.config import Config
from thesislib.profiles import Profile

PROFILE = Profile(
    "tiny",
    backbone="resnet18",
    input_px=32,
    pooling=1,
    anchors=1,
    normalised=True,
    embedding_dim=8,
    epochs=1,
    batch=4,
)


# The thesis's; dlib's landmarks, which the aligned one asks for, are another package's.
NAMES = ("joint", "two_stage_photo", "two_stage_face")


def detected(folder, photos, upsampling, threshold=0.0, progress=True):
    """In the place of dlib: every annotated face, half as large again."""
    table = pd.read_csv(folder / "annotations.csv")
    half = (table[["x2", "y2"]].to_numpy() - table[["x1", "y1"]].to_numpy()) / 4
    boxes = table[BOX].to_numpy() + np.concatenate([-half, half], axis=1)
    return pd.DataFrame(boxes, columns=BOX).assign(photo=table["photo"], score=1.0)[
        DETECTION_COLUMNS
    ]


@pytest.fixture
def config(tmp_path, monkeypatch, write_dataset):
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(systems, "detections_table", detected)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    rows = [
        face(f"photos/{who}{at}.png", who, (8, 6, 28, 26), str(at % 2))
        for who in ("anna", "boris")
        for at in range(5)
    ]
    return Config(write_dataset(rows), PROFILE)


def folders(config):
    return {name: systems.net_folder(config, name) for name in NAMES}


def changed(config, **settings):
    return dataclasses.replace(config, profile=dataclasses.replace(config.profile, **settings))


def test_each_system_has_a_folder_of_its_own_that_says_what_it_is(config):
    found = folders(config)
    assert len(set(found.values())) == 3
    for name, folder in found.items():
        assert folder.name.startswith(f"people-photo-tiny-seed0-{name}-")
        assert folder.parent == paths.RUNS / "nets"


@pytest.mark.parametrize(
    "changes",
    [{"epochs": 3}, {"batch": 3}, {"learning_rate": 0.1}, {"embedding_dim": 9}, {"anchors": 2}],
    ids=str,
)
def test_every_setting_of_a_training_has_folders_of_its_own(config, changes):
    usual, other = folders(config), folders(changed(config, **changes))
    assert all(usual[name] != other[name] for name in usual)


@pytest.mark.parametrize("changes", [{"seed": 1}, {"split": "session"}, {"holdout": True}], ids=str)
def test_every_seed_and_part_has_folders_of_its_own(config, changes):
    usual, other = folders(config), folders(dataclasses.replace(config, **changes))
    assert all(usual[name] != other[name] for name in usual)


def test_every_start_has_folders_of_its_own_whatever_its_name(config, tmp_path):
    found = [folders(config)]
    for at in range(2):
        start = tmp_path / f"{at}/net.safetensors"
        start.parent.mkdir()
        start.write_bytes(bytes([at]))
        found.append(folders(dataclasses.replace(config, start=start)))
    start.write_bytes(b"trained anew")
    found.append(folders(dataclasses.replace(config, start=start)))
    assert len({folder for one in found for folder in one.values()}) == 12


def test_another_dataset_of_the_same_name_has_folders_of_its_own(config):
    usual = folders(config)
    photo = configs.parts(config).train.photos[0]
    Image.fromarray(noise(32, 48, seed=77)).save(config.data / photo)
    other = folders(config)
    assert all(usual[name] != other[name] for name in usual)
    assert all(usual[name].parent == other[name].parent for name in usual)


def test_other_photos_to_learn_from_have_folders_of_their_own(config):
    train_part = configs.parts(dataclasses.replace(config, seed=1)).train
    for name, folder in folders(config).items():
        assert systems.net_folder(config, name, train_part) != folder


def test_only_what_a_net_depends_on_makes_another_training(config):
    usual = folders(config)
    assert folders(changed(config, workers=3, transfer_steps=5)) == usual


def test_another_setting_of_the_detector_is_another_training_on_the_faces_it_finds(
    config, monkeypatch
):
    usual = folders(config)
    monkeypatch.setattr(systems, "detector", lambda *_: DetectorSettings(0, 0.25))
    other = folders(config)
    assert {name for name in usual if usual[name] != other[name]} == {"two_stage_face"}


def test_what_is_trained_is_there_the_next_time(config, monkeypatch):
    first = {name: systems.trained(config, name) for name in NAMES}

    def never(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(train, "fit", never)
    for name, net in first.items():
        again = systems.trained(config, name)
        assert again.identities == ["anna", "boris"]
        assert len(systems.history(again)) == 1
        for one, other in zip(net.state_dict().values(), again.state_dict().values(), strict=True):
            assert torch.equal(one, other)


@pytest.fixture
def fitted(monkeypatch):
    """What each training is called with, in the place of training."""
    calls = []

    def fit(net, loss, crops, profile, seed, folder, run, progress, steps, label):
        state = {name: value.clone() for name, value in net.state_dict().items()}
        calls.append({"state": state, "crops": crops, "label": label, "seed": seed})
        return [{"epoch": 1, "total": 0.0}]

    monkeypatch.setattr(train, "fit", fit)
    return calls


def test_progress_says_what_is_trained(config, fitted):
    for name in NAMES:
        systems.trained(config, name)
    assert [call["label"] for call in fitted] == [
        "joint net",
        "two-stage (photo)",
        "two-stage (face)",
    ]


def test_systems_begin_with_the_same_backbone(config, fitted):
    for name in NAMES:
        systems.trained(config, name)
    states = [
        {name: value for name, value in call["state"].items() if name.startswith("backbone.")}
        for call in fitted
    ]
    assert all(torch.equal(states[0][name], other[name]) for other in states for name in states[0])


def test_a_start_gives_its_backbone_to_all_systems(config, monkeypatch, fitted, tmp_path):
    first = systems.new_joint(dataclasses.replace(config, seed=9))
    first.save(tmp_path / "first")
    begun = dataclasses.replace(config, start=tmp_path / "first")
    for name in NAMES:
        systems.trained(begun, name)
    for call in fitted:
        assert torch.equal(call["state"]["backbone.conv1.weight"], first.backbone.conv1.weight)


def test_a_classifier_of_faces_sees_them_as_the_detector_frames_them(config, fitted):
    systems.trained_classifier(config, "face")
    (call,) = fitted
    parts = configs.parts(config)
    assert len(call["crops"].photos) == len(parts.train.photos)
    calibration = systems.calibration(config)
    assert calibration.sw == pytest.approx(1 / 1.5)  # back to the annotated boxes
    assert calibration.sh == pytest.approx(1 / 1.5)


def test_faces_that_dlib_does_not_find_are_learned_at_their_annotated_boxes(
    config, fitted, monkeypatch
):
    """As in group photos, whose faces may be too small for it."""
    nothing = pd.DataFrame(columns=DETECTION_COLUMNS)
    monkeypatch.setattr(systems, "detections_table", lambda *asked, **more: nothing)
    classifier = systems.trained_classifier(config, "face")
    assert len(fitted[0]["crops"].photos) == len(configs.parts(config).train.photos)
    pipeline = systems.two_stage(config, "face")
    assert pipeline.calibration == (0, 0, 1, 1) and pipeline.predict_arrays([noise(32, 48)]) == [[]]
    assert classifier.identities == ["anna", "boris"]


def test_what_a_classifier_sees_is_a_photo_or_a_face(config):
    with pytest.raises(ValueError, match="'shoes' is unknown; choose photo, face, aligned"):
        systems.trained_classifier(config, "shoes")


def test_a_dataset_is_searched_once_for_each_upsampling(config, monkeypatch):
    asked = []

    def counted(*arguments):
        asked.append(arguments[2:4])
        return detected(*arguments)

    monkeypatch.setattr(systems, "detections_table", counted)
    first = systems.detections(config)
    pd.testing.assert_frame_equal(systems.detections(dataclasses.replace(config, seed=4)), first)
    assert asked == [(0, -1.0), (1, -1.0)]
    Image.fromarray(noise(32, 48, seed=77)).save(config.data / "photos/anna0.png")
    systems.detections(config)
    assert asked == [(0, -1.0), (1, -1.0)] * 2


def test_the_detector_is_set_on_training_photos_alone(config, monkeypatch):
    """Test photos have a hundred false boxes each, which a higher threshold would keep out."""
    test = set(configs.parts(config).test.photos)

    def with_false_boxes(folder, photos, upsampling, threshold, progress=True):
        rows = detected(folder, photos, upsampling)
        false = rows[rows["photo"].isin(test)].assign(score=0.4, x1=0.0, y1=0.0, x2=3.0, y2=3.0)
        return pd.concat([rows.assign(score=0.2), *[false] * 100])

    monkeypatch.setattr(systems, "detections_table", with_false_boxes)
    assert systems.detector(config) == (0, 0.1)
    kept = systems.detections(config)
    assert set(kept["score"]) == {0.2, 0.4}
    pipeline = systems.system(config, "two_stage_photo")
    assert (pipeline.upsampling, pipeline.threshold) == (0, 0.1)


@pytest.mark.parametrize("task", ["boxes_only", "names_only"])
def test_a_single_task_control_learns_by_its_own_terms(config, monkeypatch, task):
    weights = {}

    def fit(net, loss, *_, **__):
        weights.update(loss.weights)
        return [{"epoch": 1, "total": 0.0}]

    monkeypatch.setattr(train, "fit", fit)
    net = systems.trained_control(config, task)
    joint = systems.new_joint(config)
    assert {term for term, weight in weights.items() if weight} == {
        "boxes_only": {"box", "confidence", "no_object"},
        "names_only": {"identity"},
    }[task]
    for one, other in zip(net.state_dict().values(), joint.state_dict().values(), strict=True):
        assert torch.equal(one, other)  # it begins as the joint net begins
    assert systems.net_folder(config, task) != systems.net_folder(config, "joint")


def test_names_alone_are_read_at_the_boxes_of_the_other_control(config):
    system = systems.system(config, "names_only")
    boxes = systems.system(config, "boxes_only")
    photos = [noise(32, 48, seed=at) for at in range(3)]
    found, expected = system.predict_arrays(photos, 0.0), boxes.predict_arrays(photos, 0.0)
    for faces, others in zip(found, expected, strict=True):
        assert [face.score for face in faces] == [face.score for face in others]
    namer = systems.trained_control(config, "names_only")
    at = [np.array([face.box for face in faces]).reshape(-1, 4) for faces in expected]
    assert [[face.name for face in faces] for faces in found] == namer.identify_boxes(photos, at)


def test_a_single_task_control_starts_from_random_weights(config):
    with pytest.raises(ValueError, match="has learned both tasks"):
        systems.trained_control(configs.started(config), "boxes_only")
    with pytest.raises(ValueError, match="'shoes' is unknown"):
        systems.trained_control(config, "shoes")


def test_anchors_are_at_the_networks_scale(config):
    net = systems.new_joint(config)
    np.testing.assert_allclose(net.anchors.numpy(), [[20.0, 20.0]], rtol=1e-5)  # photos are 32 px
    larger = systems.new_joint(changed(config, input_px=64))
    np.testing.assert_allclose(larger.anchors.numpy(), [[40.0, 40.0]], rtol=1e-5)


def test_a_net_is_trained_and_tested_with_the_profiles_settings(config):
    joint, classifier = systems.new_joint(config), systems.new_classifier(config)
    for net in (joint, classifier):
        assert (net.input_px, net.identities) == (32, ["anna", "boris"])
        assert net.settings["embedding_dim"] == 8
        assert net.settings["normalised"]


def test_a_net_that_another_training_left_in_the_folder_is_refused(config):
    folder = systems.net_folder(config, "joint")
    other = systems.new_joint(config)
    other.provenance = {"seed": 1, "history": []}
    other.save(folder)
    with pytest.raises(checkpoint.CheckpointError, match="of another training"):
        systems.trained_joint(config)
