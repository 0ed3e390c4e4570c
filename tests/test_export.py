"""Exported nets answer as PyTorch does, and damaged ones are refused."""

import json
import shutil

import numpy as np
import pytest
import torch
from conftest import noise, random_boxes, thin_net

from thesislib import storage
from thesislib.data.transforms import scaled_size
from thesislib.deploy import export, int8
from thesislib.deploy.engines import open_engine
from thesislib.deploy.export import ABOUT, INT8, ExportError, read_about
from thesislib.deploy.graph import PhotosToFaces, survivors
from thesislib.deploy.int8 import within_limits
from thesislib.engine.systems import Joint
from thesislib.metrics.boxes import box_iou
from thesislib.models.face_classifier import FaceClassifier

INPUT_PX = 96
# What engines may differ by, on the same scaled photo: pixels of it, and scores.
BOX_TOLERANCE, SCORE_TOLERANCE = 0.2, 2e-3
NET_ENGINES = ("onnxruntime", "openvino", "torch")


def busy_net():
    """An untrained net that finds many faces."""
    net = thin_net(identities=("anna", "boris", "clara")).eval()
    with torch.no_grad():
        net.regression_head.weight.normal_(std=0.3)
        net.regression_head.bias.view(2, 5)[:, 4] = 0
    return net


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The busy net, its export with int8, and that of a net that finds nothing."""
    folder = tmp_path_factory.mktemp("exported")
    net, silent = busy_net(), thin_net().eval()
    silent.backbone_name = net.backbone_name = None  # of no backbone that a name would give
    calibration = [noise(96, 128, seed) for seed in range(8)]
    export.export(net, INPUT_PX, folder / "busy", calibration)
    with torch.no_grad():
        silent.regression_head.bias.view(2, 5)[:, 4] = -30
    export.export(silent, INPUT_PX, folder / "silent")
    return net, folder


@pytest.fixture(scope="module")
def engines(exported):
    net, folder = exported
    about = read_about(folder / "busy")
    named = {name: open_engine(folder / "busy", about, name, 1)[1] for name in NET_ENGINES[:2]}
    graph = PhotosToFaces(net, INPUT_PX)

    @torch.inference_mode()
    def in_torch(photos):
        return tuple(value.numpy() for value in graph(torch.from_numpy(photos)))

    return {**named, "torch": in_torch}


def assert_same(found, wanted, scale):
    """The same faces, whatever the order of those whose scores are as good as equal."""
    assert [value.dtype.kind for value in found] == [value.dtype.kind for value in wanted]
    for photo in np.unique(np.concatenate([found[0], wanted[0]])):
        own, other = ([v[values[0] == photo] for v in values] for values in (found, wanted))
        assert len(own[0]) == len(other[0])
        order = [
            int(
                np.lexsort((np.abs(other[1] - box).sum(axis=1), np.abs(other[2] - score) > 0.01))[0]
            )
            for box, score in zip(own[1], own[2], strict=True)
        ]
        assert sorted(order) == list(range(len(order)))
        np.testing.assert_allclose(own[1], other[1][order], atol=BOX_TOLERANCE * scale)
        np.testing.assert_allclose(own[2], other[2][order], atol=SCORE_TOLERANCE)
        assert (np.diff(own[2]) <= SCORE_TOLERANCE).all()
        np.testing.assert_allclose(own[4], other[4][order], atol=SCORE_TOLERANCE)
        sure = own[4] > 0.5
        np.testing.assert_array_equal(own[3][sure], other[3][order][sure])
        np.testing.assert_allclose(own[5], other[5][order], atol=2e-2)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(
    "shape",
    [(1, 96, 96), (1, 96, 128), (2, 200, 333), (3, 50, 77), (1, 1, 1), (1, 7, 300), (1, 641, 480)],
)
def test_engines_give_what_pytorch_gives(engines, engine, shape):
    photos = np.stack([noise(*shape[1:], seed) for seed in range(shape[0])])
    wanted = engines["torch"](photos)
    assert len(wanted[0]) > 10
    assert_same(engines[engine](photos), wanted, scale=min(shape[1:]) / INPUT_PX)


def test_the_graph_gives_what_the_system_gives(exported, engines):
    net, _ = exported
    for shape in ((96, 128), (130, 201)):
        photo = noise(*shape)
        wanted, found = Joint(net, INPUT_PX)(photo), engines["torch"](photo[None])
        np.testing.assert_allclose(found[1], wanted["boxes"], atol=1e-3)
        np.testing.assert_allclose(found[2], wanted["scores"], atol=1e-6)
        assert [net.identities[at] for at in found[3]] == wanted["identities"]


def test_a_photo_without_a_face(exported):
    _, folder = exported
    about = read_about(folder / "silent")
    assert about["int8"] is None
    for name in ("onnxruntime", "openvino"):
        _, run = open_engine(folder / "silent", about, name, 1)
        found = run(noise(100, 77)[None])
        assert [value.shape[0] for value in found] == [0] * 6
        assert found[1].shape == (0, 4)
        assert found[5].shape == (0, 8)


def test_many_faces_stop_at_the_net_s_limit(exported, engines):
    net, _ = exported
    wide = noise(96, 96 * 12)[None]
    for run in engines.values():
        assert len(run(wide)[0]) == net.max_detections


def test_suppression_leaves_boxes_apart_photo_by_photo():
    rng = np.random.default_rng(0)
    boxes = torch.stack([random_boxes(rng, 40), random_boxes(rng, 40)])
    scores = torch.tensor(rng.uniform(0, 1, (2, 40)), dtype=torch.float32)
    found = survivors(boxes, scores, 0.5, 0.3, 100)
    for photo in (0, 1):
        kept, naive = found[found[:, 0] == photo, 1].tolist(), []
        for at in np.argsort(-scores[photo].numpy()):
            alone = all(
                box_iou(boxes[photo, at : at + 1].numpy(), boxes[photo, k : k + 1].numpy()) <= 0.5
                for k in naive
            )
            if scores[photo, at] > 0.3 and alone:
                naive.append(int(at))
        assert kept == naive


def test_scaled_size_is_that_of_the_system():
    rng = np.random.default_rng(0)
    for height, width in rng.integers(1, 3000, (200, 2)).tolist():
        # Halves are rounded up; to even, as Python does, would be one pixel away.
        naive = [int(np.floor(side * 320 / min(height, width) + 0.5)) for side in (height, width)]
        assert list(scaled_size(height, width, 320)) == naive


def test_int8_is_close_and_its_heads_are_not_quantised(exported, engines):
    _, folder = exported
    about = read_about(folder / "busy")
    assert INT8 in about["sha256"]
    _, run = open_engine(folder / "busy", about, "openvino_int8", 1)
    photo = noise(96, 128, seed=50)[None]
    found, wanted = run(photo), engines["torch"](photo)
    close = box_iou(found[1], wanted[1]).max(axis=1) > 0.8
    assert close.mean() > 0.5
    graph = (folder / "busy" / INT8).read_text()
    stored_in_int8 = graph.count('element_type="i8"')
    assert 1 <= stored_in_int8 <= 4  # the stem's and the thin body's three convolutions


def test_the_classifier_gives_what_pytorch_gives(tmp_path):
    torch.manual_seed(0)
    net = FaceClassifier(["anna", "boris"], "resnet18", embedding_dim=8, normalised=True).eval()
    about = export.export(net, 64, tmp_path / "classifier")
    photos = np.stack([noise(64, 80, seed).transpose(2, 0, 1) for seed in range(3)])
    with torch.no_grad():
        wanted = net(torch.from_numpy(photos)).numpy()
    for name in NET_ENGINES:
        _, run = open_engine(tmp_path / "classifier", about, name, 1)
        np.testing.assert_allclose(run(photos)[0], wanted, atol=2e-3)


def test_lower_precision_must_be_as_accurate():
    full = {"joint_accuracy_50": 0.965, "mean_iou": 0.8}
    assert within_limits({"joint_accuracy_50": 0.96, "mean_iou": 0.79}, full)
    assert not within_limits({"joint_accuracy_50": 0.959, "mean_iou": 0.8}, full)
    assert not within_limits({"joint_accuracy_50": 0.965, "mean_iou": 0.789}, full)


def test_int8_that_fails_its_check_is_not_offered(tmp_path):
    seen = []

    def check(graph):
        seen.append(len(graph(noise(96, 96)[None])))
        return {"joint_accuracy_50": 1.0 if len(seen) == 1 else 0.5, "mean_iou": 0.8}

    net = busy_net()
    net.backbone_name = None
    about = export.export(net, INPUT_PX, tmp_path / "net", [noise(96, 96)], check)
    assert not about["int8"]["offered"]
    assert len(about["int8"]["tried"]) == len(seen) - 1 > 1
    assert INT8 not in about["sha256"]
    read_about(tmp_path / "net")


def test_accuracy_against_a_loop():
    truths = [
        {"boxes": [[0, 0, 10, 10], [20, 0, 30, 10]], "identities": ["anna", "boris"]},
        {"boxes": [[0, 0, 10, 10]], "identities": ["anna"]},
    ]
    predictions = [
        {
            "boxes": [[0, 0, 10, 8], [20, 0, 30, 4]],
            "scores": [0.9, 0.8],
            "identities": ["anna"] * 2,
        },
        {"boxes": [[0, 0, 10, 10]], "scores": [0.7], "identities": ["boris"]},
    ]
    found = int8.accuracy(predictions, truths)
    assert found["joint_accuracy_50"] == pytest.approx(1 / 3)
    assert found["recall_50"] == pytest.approx(2 / 3)
    assert found["mean_iou"] == pytest.approx((0.8 + 0.4 + 1) / 3)


# Bad input


def test_nets_that_read_under_the_box_are_refused(tmp_path):
    net = thin_net()
    net.embedding_source = "roi"
    with pytest.raises(ExportError, match=r"embedding_source='box'.*cell"):
        export.export(net, INPUT_PX, tmp_path)


@pytest.fixture
def copied(exported, tmp_path):
    shutil.copytree(exported[1] / "silent", tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize("name", ["net.onnx", "openvino.bin", "openvino.xml", "net.safetensors"])
def test_altered_or_truncated_files_are_refused(copied, name):
    whole = (copied / name).read_bytes()
    (copied / name).write_bytes(whole[:-1])
    with pytest.raises(ExportError, match=f"{name}: truncated or altered"):
        read_about(copied)
    (copied / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ExportError, match=f"{name}: truncated or altered"):
        read_about(copied)
    (copied / name).unlink()
    with pytest.raises(ExportError, match=f"{name}: missing"):
        read_about(copied)


def test_an_altered_description_is_refused(copied):
    about = json.loads((copied / ABOUT).read_text())
    storage.write_json(copied / ABOUT, {**about, "identities": ["boris", "anna"]})
    with pytest.raises(ExportError, match="altered"):
        read_about(copied)
    storage.write_json(copied / ABOUT, {**about, "version": 0})
    with pytest.raises(ExportError, match="version 0"):
        read_about(copied)
    (copied / ABOUT).write_text('{"version": 1, "iden')
    with pytest.raises(ExportError, match="truncated"):
        read_about(copied)
    (copied / ABOUT).unlink()
    with pytest.raises(ExportError, match="no exported net"):
        read_about(copied)
