"""A net that reads embeddings at landmarks, on the runtimes it is exported for."""

import functools

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import PARTY, face, noise
from PIL import Image

from thesislib import paths
from thesislib.data.schema import Dataset
from thesislib.deploy import export as exporting
from thesislib.deploy import int8
from thesislib.deploy.engines import missing, on_torch, open_engine
from thesislib.deploy.export import OPENVINO, ExportError, export, read_about
from thesislib.deploy.graph import OUTPUTS
from thesislib.deploy.recogniser import Recogniser
from thesislib.engine.checkpoint import save_net
from thesislib.experiments import recogniser as experiment
from thesislib.faces import Face
from thesislib.metrics.boxes import box_iou
from thesislib.models.heads import NOBODY
from thesislib.models.joint import JointNet

INPUT_PX = 96
RUNTIMES = ("onnxruntime", "openvino")


def busy_net(identities=PARTY):
    """Untrained; it finds faces all over a photo of patches."""
    torch.manual_seed(0)
    net = JointNet(
        identities,
        np.empty((0, 2)),
        input_px=INPUT_PX,
        backbone="dlib",
        stride=4,
        pooling=1,
        embedding_dim=128,
        normalised=True,
        embedding_source="landmarks",
    ).eval()
    with torch.no_grad():
        for head in net.regression_head.heads:
            head.weight.normal_(std=0.3)
            head.bias[4] = 0
    return net


def patches(height, width, seed=0):
    small = noise(-(-height // 12), -(-width // 12), seed)
    return np.kron(small, np.ones((12, 12, 1), np.uint8))[:height, :width]


@pytest.fixture(scope="module")
def net():
    return busy_net()


@pytest.fixture(scope="module")
def folder(net, tmp_path_factory):
    folder = tmp_path_factory.mktemp("landmarks")
    export(net, folder, [patches(96, 128, seed) for seed in range(4)])
    return folder


@pytest.fixture(scope="module")
def opened(folder):
    """A function from an engine's name to the export on it, compiled once."""
    return functools.cache(lambda name: open_engine(folder, read_about(folder), name, 1)[1])


@pytest.fixture(scope="module")
def recognisers(folder):
    """A function from an engine's name to a recogniser."""
    return functools.cache(lambda name: Recogniser(folder, engine=name))


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("shape", [(1, 96, 96), (2, 120, 181), (1, 50, 77), (1, 200, 96)])
def test_runtimes_give_what_pytorch_gives(net, opened, runtime, shape):
    photos = np.stack([patches(*shape[1:], seed) for seed in range(shape[0])])
    found, wanted = opened(runtime)(photos), on_torch(net, threads=1, device="cpu")(photos)
    assert len(found) == len(wanted) == len(OUTPUTS)
    scale = min(shape[1:]) / INPUT_PX
    for photo in range(shape[0]):
        own, other = ([v[values[0] == photo] for v in values] for values in (found, wanted))
        assert len(own[1]) > 5
        # Faces of scores as good as equal may change places, or suppress each other.
        distance = np.abs(own[1][:, None] - other[1]).max(axis=2)
        near = distance.min(axis=1) < 0.5 * scale
        assert near.mean() > 0.9
        at = distance.argmin(axis=1)
        for place, tolerance in ((2, 5e-3), (5, 2e-2), (6, 0.5 * scale)):
            np.testing.assert_allclose(own[place][near], other[place][at][near], atol=tolerance)


@pytest.mark.parametrize("engine", [*RUNTIMES, "torch"])
def test_faces_have_landmarks_on_every_engine(recognisers, engine):
    recogniser = recognisers(engine)
    faces = recogniser.predict_arrays([patches(192, 192)], 0.5)[0]
    assert faces and all(face.landmarks.shape == (5, 2) for face in faces)
    assert {face.name for face in faces} <= set(PARTY)
    assert recogniser.predict_arrays([np.full((90, 90, 3), 120, np.uint8)], 0.999) == [[]]


@pytest.mark.parametrize("engine", [*RUNTIMES, "torch"])
def test_detections_below_the_threshold_are_not_embedded(opened, engine):
    run = opened(engine)
    photo = patches(128, 150)[None]
    everything = run(photo)[2]
    threshold = float(np.sort(everything)[len(everything) // 2]) + 1e-4
    some = run(photo, threshold)
    # Suppression sees no others than those above it either way: a box falls to a better one.
    np.testing.assert_allclose(some[2], everything[everything > threshold], atol=1e-6)
    assert 0 < len(some[5]) == len(some[2]) < len(everything)
    # Of a photo without a face nothing is left of the one before.
    assert [len(value) for value in run(photo, 0.999)] == [0] * len(OUTPUTS)
    assert len(run(photo, threshold)[5]) == len(some[5])


def test_int8_is_of_all_heavy_layers(net, folder, opened):
    import openvino as ov

    heavy, others = int8._heavy(ov.Core().read_model(folder / OPENVINO))
    weights = {
        op.get_friendly_name(): int8._weight(op)
        for op in ov.Core().read_model(folder / OPENVINO).get_ordered_ops()
        if op.get_type_name() == "Convolution"
    }
    inside = {weights[name].removeprefix("net.").split(".")[0] for name in heavy}
    assert inside == {"backbone", "regression_head", "embedding_head"}
    outside = {weights[name] for name in others if name in weights}
    assert all(".heads." in name or "refiner." in name for name in outside)
    photo = patches(96, 128, 9)[None]
    found, wanted = opened("openvino_int8")(photo), on_torch(net, threads=1, device="cpu")(photo)
    close = box_iou(found[1], wanted[1]).max(axis=1) > 0.8
    assert close.mean() > 0.5


def test_lowered_engines_read_faces_where_they_are_however_many_photos_there_are(folder, opened):
    """Places are counted over all photos of a batch: three digits are not enough for them."""
    about = read_about(folder)
    assert "would be rounded to three digits" in str(missing(about, "openvino_bf16"))
    assert missing({**about, "landmarks": False}, "openvino_bf16") in (
        None,
        "this processor does not multiply in bf16",
    )
    run = opened("openvino_int8")
    photos = np.stack([patches(96, 128, seed) for seed in range(32)])
    together, alone = run(photos), run(photos[-1:])
    last = together[0] == 31
    assert last.sum() == len(alone[0]) > 5
    for at in (1, 2, 5, 6):
        np.testing.assert_allclose(together[at][last], alone[at], atol=1e-3)


def test_int8_is_calibrated_with_photos_that_show_a_face():
    """The range of what is read of no face is empty, and would be that of all faces."""
    bright, dark = (np.full((9, 9, 3), value, np.uint8) for value in (200, 20))

    def run(photos, score):
        assert photos.shape[0] == 1 and score == 0.5
        return (np.zeros(int(photos.max() > 100)), np.zeros((int(photos.max() > 100), 4)))

    assert [one.max() for one in exporting._with_faces(run, [dark, bright, dark])] == [200]
    with pytest.raises(ExportError, match="calibration: the net finds no face in any of its 2 ph"):
        exporting._with_faces(run, [dark, dark])


def test_what_int8_must_not_cost_where_nobody_is_named(tmp_path):
    """Right is a face whose most similar one in another photo is the same person's."""
    rows = [face(f"photos/{at}.png", name) for at, name in enumerate("aabbcc")]
    rows.append(face("photos/5.png", "b", (30, 5, 44, 24)))
    dataset = Dataset(tmp_path, pd.DataFrame(rows))
    vectors = np.eye(3, dtype=np.float32)[[0, 0, 1, 1, 2, 0]]

    class System:
        answers_key = "by hand"

    def told(system, files):
        answers = []
        for at in range(6):
            box = np.array([5, 4, 25, 24] if at != 3 else [40, 4, 48, 24], np.float32)
            answers.append([Face(box, 0.9, embedding=vectors[at])])
        return answers

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "predict", told)
        # Found: photos 0, 1, 2, 4, 5; 0 and 1 are alike; 2 has lost its like, and 5 is taken for a.
        assert exporting._alike(System(), dataset) == pytest.approx(2 / 7)


def test_a_net_that_knows_nobody_names_nobody():
    faces = busy_net(NOBODY).predict_arrays([patches(96, 96)], 0.5)[0]
    assert {(face.name, face.name_score) for face in faces} == {("", 0.0)}


def test_an_engine_is_measured_alone_on_what_was_exported(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(paths, "TABLES", tmp_path / "tables")
    monkeypatch.setattr(experiment, "exported", lambda net: folder)
    save_net(tmp_path / "busy", busy_net(NOBODY))
    (tmp_path / "empty").mkdir()
    Image.fromarray(patches(80, 100)).save(tmp_path / "empty/1.png")
    table = experiment.run(
        [tmp_path / "empty"], tmp_path / "busy", engine="openvino_int8", progress=False
    )
    (row,) = table.to_dict("records")
    assert (row["system"], row["precision"]) == ("busy_openvino_int8", "int8")
    assert (row["measure"], row["input_px"]) == ("false_boxes_per_100_empty", INPUT_PX)
    assert row["value"] > 0 and row["command"].endswith("--net busy --engine openvino_int8")
