"""Exported nets answer as PyTorch does, and damaged ones are refused."""

import errno
import json
import shutil
import sys

import numpy as np
import pytest
import torch
from conftest import DEVICES, PARTY, noise, random_boxes, thin_net

from thesislib import storage
from thesislib.data.images import PhotoError
from thesislib.data.schema import read_dataset
from thesislib.deploy import export as exporting
from thesislib.deploy import int8
from thesislib.deploy.engines import on_torch, open_engine
from thesislib.deploy.export import ABOUT, INT8, ONNX, OPENVINO, ExportError, export, read_about
from thesislib.deploy.graph import GraphSystem, PhotosToFaces
from thesislib.deploy.int8 import quantise, within_limits
from thesislib.engine.checkpoint import CheckpointError
from thesislib.engine.evaluate import SCORE_THRESHOLD, evaluate
from thesislib.environment import MissingExtraError
from thesislib.metrics.boxes import box_iou
from thesislib.models.backbone import MEAN
from thesislib.models.face_classifier import FaceClassifier
from thesislib.models.joint import JointNet
from thesislib.models.loss import JointLoss

INPUT_PX = 96
# A photo of the mean colour, of which normalisation leaves nothing.
EMPTY = np.tile(np.uint8(np.round(255 * np.array(MEAN))), (100, 77, 1))
# What engines may differ by, on the same scaled photo: pixels of it, and scores.
BOX_TOLERANCE, SCORE_TOLERANCE = 0.2, 2e-3
RUNTIMES = ("onnxruntime", "openvino")


def busy_net(**settings):
    """An untrained net that finds many faces in noise, and none where nothing is to be seen."""
    net = thin_net(identities=PARTY, input_px=INPUT_PX, **settings).eval()
    with torch.no_grad():
        net.regression_head.weight.normal_(std=0.3)
        net.regression_head.weight.view(2, 5, -1)[:, 4] *= 10
        net.regression_head.bias.view(2, 5)[:, 4] = -3.5
        net.embedding_head.weight *= 100  # so that faces are of different people
    return net


def trained_net():
    """One that reads embeddings under the box, after a step with a learned balance."""
    net, loss = busy_net(embedding_source="roi"), JointLoss(learned=True)
    photos = torch.from_numpy(noise(96, 96)).permute(2, 0, 1)[None].repeat(2, 1, 1, 1)
    target = {"boxes": torch.tensor([[20.0, 20, 50, 60]]), "identities": torch.tensor([1])}
    optimiser = torch.optim.SGD([*net.parameters(), *loss.parameters()], lr=1e-6)
    loss(net, net(photos), [target] * 2)["total"].backward()
    optimiser.step()
    assert loss.log_variances.abs().sum() > 0
    return net


@pytest.fixture(scope="module")
def nets():
    return {"grid": busy_net(), "roi": trained_net()}


@pytest.fixture(scope="module")
def folder(nets, tmp_path_factory):
    """Of the exports of both nets, that with a grid with int8 too."""
    folder = tmp_path_factory.mktemp("exported")
    export(nets["grid"], folder / "grid", [noise(96, 128, seed) for seed in range(8)])
    export(nets["roi"], folder / "roi")
    return folder


@pytest.fixture(scope="module")
def runs(nets, folder):
    """The graph of each net on each runtime, and in PyTorch."""
    named = {}
    for which, net in nets.items():
        about = read_about(folder / which)
        for name in RUNTIMES:
            named[which, name] = open_engine(folder / which, about, name, 1)[1]
        named[which, "torch"] = on_torch(net, threads=1, device="cpu")
    return named


def assert_same(found, wanted, scale):
    """The same faces, but for the order of those whose scores are as good as equal.

    A face whose score is hardly above the threshold may be missing.
    """
    assert [value.dtype.kind for value in found] == [value.dtype.kind for value in wanted]
    for photo in np.unique(np.concatenate([found[0], wanted[0]])):
        own, other = ([v[values[0] == photo] for v in values] for values in (found, wanted))
        assert (np.diff(own[2]) <= SCORE_TOLERANCE).all()
        assert_among(own, other, scale)
        assert_among(other, own, scale)


def assert_among(some, others, scale):
    """Each of the faces of one photo is among the others."""
    some = [value[some[2] > SCORE_THRESHOLD + 0.01] for value in some]
    order = [
        int(np.lexsort((np.abs(others[1] - box).sum(axis=1), np.abs(others[2] - score) > 0.01))[0])
        for box, score in zip(some[1], some[2], strict=True)
    ]
    assert len(set(order)) == len(order)
    np.testing.assert_allclose(some[1], others[1][order], atol=BOX_TOLERANCE * scale)
    np.testing.assert_allclose(some[2], others[2][order], atol=SCORE_TOLERANCE)
    np.testing.assert_allclose(some[4], others[4][order], atol=5 * SCORE_TOLERANCE)
    sure = some[4] > 0.5
    np.testing.assert_array_equal(some[3][sure], others[3][order][sure])
    np.testing.assert_allclose(some[5], others[5][order], atol=2e-2)


# The graph


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("which", ["grid", "roi"])
@pytest.mark.parametrize(
    "shape",
    [(1, 96, 96), (1, 96, 128), (2, 200, 333), (3, 50, 77), (1, 1, 1), (1, 7, 100), (1, 641, 480)],
)
def test_runtimes_give_what_pytorch_gives(runs, runtime, which, shape):
    photos = np.stack([noise(*shape[1:], seed) for seed in range(shape[0])])
    wanted = runs[which, "torch"](photos)
    assert len(wanted[0]) > 0 or shape in ((1, 1, 1), (1, 641, 480))
    assert_same(runs[which, runtime](photos), wanted, scale=min(shape[1:]) / INPUT_PX)


def test_biases_are_added_with_the_convolution(folder):
    import openvino as ov

    compiled = ov.Core().compile_model(folder / "grid" / OPENVINO, "CPU")
    told = [op.get_rt_info() for op in compiled.get_runtime_model().get_ops()]
    names = ("layerType", "originalLayersNames")
    layers = [[str(info[name].value) for name in names] for info in told]
    convolutions = [made_of for kind, made_of in layers if kind == "Convolution"]
    biased = [made_of for made_of in convolutions if "WithoutBiases" in made_of]
    assert len(biased) >= 2
    assert all("," in made_of for made_of in biased)  # of what was added, too


@pytest.mark.parametrize("which", ["grid", "roi"])
def test_the_graph_gives_what_the_net_gives(nets, runs, which):
    net = nets[which]
    photos = [noise(96, 128, 0), noise(130, 201, 1), EMPTY, noise(96, 128, 2)]
    system = GraphSystem(runs[which, "torch"], net.identities, net.input_px)
    counts = []
    for threshold in (SCORE_THRESHOLD, 0.1):
        answers = net.predict_arrays(photos, threshold)
        counts.append([len(faces) for faces in answers])
        for found, wanted in zip(system.predict_arrays(photos, threshold), answers, strict=True):
            assert [face.name for face in found] == [face.name for face in wanted]
            for one, other in zip(found, wanted, strict=True):
                np.testing.assert_allclose(one.box, other.box, atol=1e-3)
                np.testing.assert_allclose(one.embedding, other.embedding, atol=1e-5)
                assert one.score == pytest.approx(other.score, abs=1e-5)
                assert one.name_score == pytest.approx(other.name_score, abs=1e-5)
    assert counts[0][2] == 0 and min(counts[0][:2]) > 0 < sum(counts[1]) < sum(counts[0])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("which", ["grid", "roi"])
def test_the_graph_runs_on_every_device(runs, which, device):
    photos = np.stack([noise(130, 201, seed) for seed in range(2)])
    wanted = runs[which, "torch"](photos)
    net = busy_net() if which == "grid" else trained_net()
    found = on_torch(net, device=device)(photos)
    if device == "cpu":
        assert_same(found, wanted, scale=130 / INPUT_PX)
        return
    # bf16 moves boxes and scores, so that other ones of a crowd are suppressed.
    overlap = box_iou(found[1], wanted[1])
    overlap[found[0][:, None] != wanted[0]] = 0
    close = overlap.max(axis=1) > 0.8
    assert close.mean() > 0.5
    of_close = overlap.argmax(axis=1)[close]
    np.testing.assert_allclose(found[2][close], wanted[2][of_close], atol=0.1)


@pytest.mark.parametrize("runtime", [*RUNTIMES, "torch"])
@pytest.mark.parametrize("which", ["grid", "roi"])
def test_a_photo_without_a_face(runs, runtime, which):
    found = runs[which, runtime](EMPTY[None])
    assert [value.shape[0] for value in found] == [0] * 6
    assert found[1].shape == (0, 4)
    assert found[5].shape == (0, 8)


def test_many_faces_stop_at_the_net_s_limit(nets, runs):
    wide = noise(96, 96 * 12)[None]
    for (which, _), run in runs.items():
        assert len(run(wide)[0]) == nets[which].max_detections


@pytest.mark.parametrize("device", DEVICES)
def test_suppression_against_a_loop(device):
    rng = np.random.default_rng(0)
    boxes = torch.stack([random_boxes(rng, 40), random_boxes(rng, 40)])
    scores = torch.tensor(rng.uniform(0, 1, (2, 40)), dtype=torch.float32)
    suppress = torch.ops.thesislib.suppress
    found = suppress(boxes.to(device), scores.to(device), 0.5, 0.3, 100).cpu()
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


# int8


def test_int8_is_close_and_its_heads_are_not_quantised(folder, runs):
    about = read_about(folder / "grid")
    assert INT8 in about["sha256"]
    _, run = open_engine(folder / "grid", about, "openvino_int8", 1)
    photo = noise(96, 128, seed=50)[None]
    found, wanted = run(photo), runs["grid", "torch"](photo)
    close = box_iou(found[1], wanted[1]).max(axis=1) > 0.8
    assert close.mean() > 0.5
    graph = (folder / "grid" / INT8).read_text()
    stored_in_int8 = graph.count('element_type="i8"')
    assert 1 <= stored_in_int8 <= 4  # the stem's and the thin body's three convolutions


@pytest.mark.parametrize("which", ["grid", "roi"])
def test_the_heads_are_outside_the_backbone(folder, which):
    import openvino as ov

    model = ov.Core().read_model(folder / which / OPENVINO)
    convolutions, others = int8._heavy(model)
    weights = {
        op.get_friendly_name(): int8._weight(op)
        for op in model.get_ordered_ops()
        if op.get_type_name() == "Convolution"
    }
    inside = [weights[name] for name in convolutions]
    assert len(inside) == 4 and all("backbone." in name for name in inside)
    outside = [weights[name] for name in others if name in weights]
    assert len(outside) == 2 and all("_head." in name for name in outside)


def test_lower_precision_must_be_as_accurate():
    full = {"joint_accuracy_50": 0.965, "mean_iou": 0.8}
    assert within_limits({"joint_accuracy_50": 0.96, "mean_iou": 0.79}, full)
    assert not within_limits({"joint_accuracy_50": 0.959, "mean_iou": 0.8}, full)
    assert not within_limits({"joint_accuracy_50": 0.965, "mean_iou": 0.789}, full)


def test_layers_are_kept_in_fp32_until_int8_is_accurate(folder):
    import openvino as ov

    model = ov.Core().read_model(folder / "grid" / OPENVINO)
    seen = []

    def check(graph):
        seen.append(len(graph(noise(96, 96)[None])))
        # fp32 first, then int8 with 0 and with 1 convolution in fp32
        return {"joint_accuracy_50": 0.5 if len(seen) == 2 else 1.0, "mean_iou": 0.8}

    about, _ = quantise(model, [noise(96, 96)], check)
    assert seen == [6] * 3
    assert about["offered"]
    assert [one["fp32_convolutions"] for one in about["tried"]] == [0, 1]


def test_int8_that_fails_its_check_is_not_offered(nets, folder, party, tmp_path, monkeypatch):
    dataset = read_dataset(party)
    # The graph was written once; writing it takes most of the time.
    written = folder / "grid" / ONNX
    monkeypatch.setattr(exporting, "_write_onnx", lambda _, path, about: shutil.copy(written, path))
    full = evaluate(nets["grid"], dataset)
    within = iter([False] * 4)
    monkeypatch.setattr(int8, "within_limits", lambda lowered, full: next(within))
    about = export(nets["grid"], tmp_path / "net", [noise(96, 96)], check=dataset)
    assert not about["int8"]["offered"]
    assert [one["fp32_convolutions"] for one in about["int8"]["tried"]] == [0, 1, 1, 2]
    found = about["int8"]["fp32"]
    assert found["mean_iou"] == pytest.approx(full.faces["iou"].mean(), abs=0.01)
    assert found["joint_accuracy_50"] == pytest.approx(full.joint_accuracy(0.5), abs=0.1)
    assert INT8 not in about["sha256"]
    read_about(tmp_path / "net")


# The folder


def test_the_net_itself_is_left_as_it_is_and_lies_in_the_folder(nets, folder):
    about = read_about(folder / "roi")
    assert about["identities"] == list(PARTY)
    assert about["fingerprint"] == nets["roi"].fingerprint
    assert about["int8"] is None
    assert {name for name in about["sha256"] if name.startswith("net.")} == {
        "net.onnx",
        "net.safetensors",
    }


def test_an_export_without_its_packages_says_what_to_install(nets, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingExtraError, match=r"onnxscript.*pip install 'thesislib\[deploy\]'"):
        nets["grid"].export(tmp_path / "net")
    assert not (tmp_path / "net").exists()


def test_nets_that_cannot_be_built_again_are_refused(tmp_path):
    class Other(JointNet):
        pass

    with pytest.raises(CheckpointError, match="Other: no net that can be saved"):
        export(Other(["anna"], [[16.0, 20.0]], backbone="resnet18"), tmp_path)
    classifier = FaceClassifier(["anna"], backbone="resnet18")
    with pytest.raises(ValueError, match="check: a classifier finds no faces"):
        export(classifier, tmp_path, check="a dataset")


def test_thresholds_out_of_range_are_refused(runs):
    system = GraphSystem(runs["grid", "torch"], PARTY, INPUT_PX)
    assert system.predict_arrays([EMPTY], 0.5) == [[]]
    for threshold in (float("nan"), 2.0, -1.0):
        with pytest.raises(ValueError, match=r"score_threshold: (not a number|expected 0 to 1)"):
            system.predict_arrays([EMPTY], threshold)


@pytest.fixture
def written_once(folder, monkeypatch):
    """The graph was written once; writing it takes most of the time."""
    written = folder / "roi" / ONNX
    monkeypatch.setattr(exporting, "_write_onnx", lambda _, path, about: shutil.copy(written, path))


def bytes_in(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != ".lock"}


@pytest.mark.parametrize("earlier", ["nothing", "an export of it", "a checkpoint"])
def test_the_folder_of_another_nets_training_is_refused_untouched(
    nets, tmp_path, written_once, earlier
):
    own, other = (JointNet(["anna"], [[16.0, 20.0]], 64, "resnet18") for _ in range(2))
    own.save(tmp_path)
    if earlier == "an export of it":
        assert export(own, tmp_path)["of_training"]
    if earlier == "a checkpoint":
        (tmp_path / "net.safetensors").rename(tmp_path / "checkpoint.safetensors")
    before = bytes_in(tmp_path)
    with pytest.raises(ExportError, match=f"{tmp_path}: holds the training of another net"):
        export(other, tmp_path)
    assert bytes_in(tmp_path) == before
    if earlier == "nothing":
        assert not (tmp_path / ".lock").exists()


def test_a_net_is_exported_into_the_folder_of_its_own_training(tmp_path, written_once):
    net = JointNet(["anna"], [[16.0, 20.0]], 64, "resnet18")
    net.provenance = {"seed": 0, "history": []}
    net.save(tmp_path)
    before = (tmp_path / "net.safetensors").read_bytes()
    net.provenance = None
    for _ in range(2):
        export(net, tmp_path)
        read_about(tmp_path)
    assert (tmp_path / "net.safetensors").read_bytes() == before


def test_a_failing_export_leaves_the_good_one_before_it(nets, copied, tmp_path, monkeypatch):
    before = bytes_in(copied)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no photo")
    with pytest.raises(PhotoError, match=r"broken\.png"):
        export(nets["grid"], copied, [noise(60, 60), broken])
    with pytest.raises(PhotoError, match=r"broken\.png"):
        export(nets["grid"], tmp_path / "new", [broken])
    assert not (tmp_path / "new").exists()

    def full_disk(graph, path, about):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(exporting, "_write_onnx", full_disk)
    with pytest.raises(OSError, match="No space left on device"):
        export(nets["grid"], copied)
    assert bytes_in(copied) == before
    read_about(copied)


def test_an_earlier_export_and_what_a_killed_one_left_give_way(nets, folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder / "grid", copy)
    (copy / ".0123456789abcdef.part").mkdir()
    (copy / ".0123456789abcdef.part" / "net.onnx").write_bytes(b"half")
    about = export(nets["roi"], copy)
    assert set(bytes_in(copy)) == {ABOUT, *about["sha256"]} and INT8 not in about["sha256"]
    assert read_about(copy) == about


@pytest.fixture
def copied(folder, tmp_path):
    shutil.copytree(folder / "roi", tmp_path / "copy")
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


def test_traced_and_called_graphs_have_one_code(nets):
    """The decoding of the exported graph is the net's own."""
    calls = []
    net = nets["grid"]
    whole = type(net).faces
    graph = PhotosToFaces(net)
    net.faces = lambda *arguments: calls.append(arguments) or whole(net, *arguments)
    try:
        with torch.inference_mode():
            graph(torch.from_numpy(noise(64, 64))[None], torch.tensor(0.3))
    finally:
        del net.faces
    assert len(calls) == 1
