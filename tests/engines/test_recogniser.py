"""One interface over the engines; any photo or a clear error; the fastest is remembered."""

import importlib.util
import shutil

import numpy as np
import platformdirs
import pytest
import torch
from conftest import DEVICES, PARTY, noise, thin_net

from thesislib import paths, storage
from thesislib.baselines.two_stage import TwoStage
from thesislib.data.images import PhotoError, read_photo
from thesislib.data.schema import read_dataset
from thesislib.deploy import engines
from thesislib.deploy import graph as graphs
from thesislib.deploy.engines import ENGINES, cache_folder, on_torch, open_engine
from thesislib.deploy.export import INT8, ExportError, export, read_about
from thesislib.deploy.gallery import Gallery
from thesislib.deploy.recogniser import EngineClassifier, Recogniser
from thesislib.engine.checkpoint import load_net
from thesislib.engine.evaluate import evaluate
from thesislib.metrics.boxes import BoxCalibration
from thesislib.models.face_classifier import FaceClassifier
from thesislib.models.joint import JointNet

INPUT_PX = 64


@pytest.fixture(scope="module")
def net():
    """A ResNet cut off at stride 16, untrained, that finds many faces."""
    torch.manual_seed(0)
    settings = {"backbone": "resnet18", "stride": 16, "pooling": 1, "embedding_dim": 8}
    net = JointNet(PARTY, [[16.0, 20.0]], INPUT_PX, **settings)
    with torch.no_grad():
        net.regression_head.weight.normal_(std=0.1)
        net.regression_head.bias.view(1, 5)[:, 4] = 0
    return net.eval()


@pytest.fixture(scope="module")
def folder(net, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recogniser") / "net"
    net.export(str(folder), [noise(64, 80, seed) for seed in range(4)])
    return folder


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    settings = {"backbone": "resnet18", "embedding_dim": 8, "normalised": True}
    net = FaceClassifier(PARTY, INPUT_PX, **settings)
    net.backbone = thin_net().backbone  # quick to export; no engine but PyTorch knows a ResNet
    return net.eval()


@pytest.fixture(scope="module")
def classifier_folder(classifier, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recogniser") / "classifier"
    export(classifier, folder)
    return folder


@pytest.fixture(scope="module")
def recogniser(folder):
    return Recogniser(folder, "openvino", threads=1)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("THESIS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


NEEDS_A_COMPILER = pytest.mark.skipif(
    not (shutil.which("c++") or shutil.which("g++")),
    reason="torch.compile needs a C++ compiler on a CPU, and there is none",
)


# bf16 is not multiplied everywhere, and compiling a ResNet takes minutes.
@pytest.mark.parametrize("engine", sorted({*ENGINES} - {"openvino_bf16", "torch_compile"}))
def test_every_engine_answers_in_the_same_form(net, folder, engine):
    system = Recogniser(folder, engine, threads=1)
    assert system.engine == engine
    assert system.identities == list(PARTY) and system.embedding_dim == 8
    photo = noise(90, 70)
    found, wanted = system.predict(photo, 0.1), net.predict(photo, 0.1)
    assert len(found) > 0
    for face in found:
        assert face.box.shape == (4,) and face.box.dtype == np.float32
        assert face.embedding.shape == (8,) and face.embedding.dtype == np.float32
        assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-5)
        assert face.name in PARTY and 0 < face.score <= 1 and 0 < face.name_score <= 1
    if engine != "openvino_int8" and not torch.cuda.is_available():
        assert len(found) == len(wanted)
        np.testing.assert_allclose(
            [face.score for face in found], [face.score for face in wanted], atol=2e-3
        )


@pytest.mark.parametrize("device", DEVICES)
def test_pytorch_answers_on_every_device(folder, device):
    photos = noise(90, 70)[None]
    wanted = on_torch(load_net(folder, "cpu"), threads=1, device="cpu")(photos)
    found = on_torch(load_net(folder, "cpu"), device=device)(photos)
    assert [value.dtype for value in found] == [value.dtype for value in wanted]
    assert len(found[0]) > 0
    tolerance = 1e-5 if device == "cpu" else 0.05
    np.testing.assert_allclose(found[2].max(), wanted[2].max(), atol=tolerance)


@NEEDS_A_COMPILER
def test_a_compiled_net_answers_as_another():
    net = thin_net().eval()
    with torch.no_grad():
        net.regression_head.weight.normal_(std=0.3)
        net.regression_head.bias.zero_()
    compiled = on_torch(net, compiled=True, device="cpu")
    for shape in ((64, 80), (100, 70)):
        photos = noise(*shape)[None]
        found, wanted = compiled(photos), on_torch(net, device="cpu")(photos)
        assert len(found[0]) == len(wanted[0]) > 0
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-3)


def test_photos_of_any_sizes_are_those_one_by_one(recogniser, monkeypatch):
    photos = [noise(64, 80, 0), noise(50, 70, 1), *(noise(64, 80, seed) for seed in range(2, 5))]
    photos.append(noise(128, 160, 5))  # goes with the small ones, once it is scaled
    monkeypatch.setattr(graphs, "BATCH_PIXELS", 2 * 64 * 80)
    batches = recogniser._batches(photos)
    assert sorted(len(members) for _, members in batches) == [1, 1, 2, 2]
    assert sorted(at for _, members in batches for at in members) == list(range(6))
    for found, photo in zip(recogniser.predict(photos, 0.1), photos, strict=True):
        alone = recogniser.predict(photo, 0.1)
        assert [face.name for face in found] == [face.name for face in alone]
        for one, other in zip(found, alone, strict=True):
            np.testing.assert_allclose(one.box, other.box, atol=1e-2)
    assert recogniser.predict([]) == []


def test_the_stages_of_a_call_give_its_answer(recogniser):
    """Also of a photo that is scaled, so that boxes are taken back to its pixels."""
    for photo in (noise(INPUT_PX, 80), noise(150, 100)):
        value = photo
        for _, work in recogniser.stages_at(0.05):
            value = work(value)
        (whole,) = recogniser.predict_arrays([photo], 0.05)
        assert len(value) == len(whole) > 0
        for one, same in zip(value, whole, strict=True):
            np.testing.assert_array_equal(one.box, same.box)
            np.testing.assert_array_equal(one.embedding, same.embedding)
            assert (one.score, one.name) == (same.score, same.name)
    names = [name for name, _ in recogniser.stages_at(0.5)]
    assert names == ["preprocess", "network", "postprocess"]


def test_large_photos_are_scaled_before_the_graph(net, recogniser, monkeypatch):
    photo = noise(300, 200)
    seen, run = [], recogniser.run
    monkeypatch.setattr(
        recogniser, "run", lambda batch, *more: seen.append(batch.shape) or run(batch, *more)
    )
    found, wanted = recogniser.predict(photo, 0.1), net.predict(photo, 0.1)
    assert seen == [(1, 96, 64, 3)]
    assert len(found) == len(wanted) > 0
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.box, other.box, atol=0.5)  # pixels of the large photo
    assert max(face.box.max() for face in found) > 200


def test_an_answer_is_not_overwritten_by_the_next(recogniser):
    found = recogniser.predict(noise(64, 80, 0), 0.1)
    kept = [face.box.copy() for face in found]
    recogniser.predict(noise(64, 80, 1), 0.1)
    np.testing.assert_array_equal([face.box for face in found], kept)


def test_a_recogniser_is_a_system(net, recogniser, party, tmp_path):
    dataset = read_dataset(party)
    report = evaluate(recogniser, dataset)
    wanted = evaluate(net, dataset)
    assert report.faces["iou"].mean() == pytest.approx(wanted.faces["iou"].mean(), abs=0.01)
    assert set(report.photos["predicted_identity"]) <= {*PARTY, ""}
    assert recogniser.fingerprint == net.fingerprint
    folder = party / "photos"
    kept = recogniser.predict(str(folder), 0.1, out=tmp_path / "out")
    again = recogniser.predict(folder, 0.1)
    assert [[f.name for f in faces] for faces in kept] == [[f.name for f in x] for x in again]


def test_a_gallery_of_a_net_serves_its_export(net, recogniser, party, tmp_path):
    dataset = read_dataset(party)
    gallery = Gallery(net)
    gallery.enrol_dataset(dataset)
    gallery.save(tmp_path / "people.safetensors")
    again = Gallery.load(tmp_path / "people.safetensors", recogniser)
    photo = dataset.folder / dataset.photos[0]
    found, wanted = again.recognise(photo, 0.05), gallery.recognise(photo, 0.05)
    assert len(found) == len(wanted) > 0
    assert sorted(face.name for face in found) == sorted(face.name for face in wanted)
    assert "oracle_identity" in evaluate(gallery, dataset).faces
    assert "oracle_identity" not in evaluate(again, dataset).faces


# Photos


@pytest.mark.parametrize("engine", ["torch", "onnxruntime", "openvino"])
def test_tiny_and_long_photos(folder, engine):
    system = Recogniser(folder, engine, threads=1)
    assert len(system.predict(noise(1, 1))) >= 0
    assert len(system.predict(noise(1, 50))) >= 0
    with pytest.raises(ValueError, match=r"photo 0, 10000 x 1 pixels.*640000 x 64"):
        system.predict([noise(1, 10000)])


def test_what_is_no_photo_is_named(recogniser, tmp_path):
    with pytest.raises(ValueError, match=r"photo of shape \(4, 4, 4\)"):
        recogniser.predict(np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(PhotoError, match=r"nowhere\.jpg"):
        recogniser.predict(tmp_path / "nowhere.jpg")


# Engines


def test_the_fastest_is_measured_once_and_remembered_for_the_user(
    folder, cache, tmp_path, monkeypatch
):
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    times = {"openvino": 1.0, "torch": 2.0, "onnxruntime": 0.5}
    monkeypatch.setattr(engines, "time_engines", lambda *_: times)
    assert Recogniser(folder).engine == "onnxruntime"
    monkeypatch.setattr(engines, "time_engines", lambda *_: pytest.fail("measured again"))
    assert Recogniser(folder).engine == "onnxruntime"
    storage.write_text(cache / engines.CHOICES, "{damaged")
    monkeypatch.setattr(engines, "time_engines", lambda *_: {"openvino": 1.0})
    assert Recogniser(folder).engine == "openvino"
    # Neither beside the package nor where its runs are.
    assert {path.name for path in tmp_path.iterdir()} == {"cache"}


def test_where_nothing_may_be_kept_the_fastest_is_measured_each_time(folder, cache, monkeypatch):
    lock = storage.folder_lock

    def refused(of, wait=False):
        if of == cache:
            raise storage.NotWritableError(f"{of}: cannot be written to (Permission denied)")
        return lock(of, wait)

    monkeypatch.setattr(storage, "folder_lock", refused)
    monkeypatch.setattr(engines, "time_engines", lambda *_: {"openvino": 1.0, "torch": 2.0})
    with pytest.warns(UserWarning, match="cannot be written to .*; THESIS_CACHE names another"):
        assert Recogniser(folder).engine == "openvino"


def test_choices_are_kept_where_the_system_keeps_a_user_s_cache(monkeypatch):
    monkeypatch.delenv("THESIS_CACHE", raising=False)
    assert cache_folder() == platformdirs.user_cache_path("thesislib")
    package = engines.__file__.rpartition("/thesislib/")[0]
    assert not cache_folder().is_relative_to(package)


def test_timing_takes_every_engine_that_is_there(folder, monkeypatch):
    monkeypatch.setattr(engines, "_RUNS", 1)
    times = engines.time_engines(folder, read_about(folder), 1)
    assert {"torch", "onnxruntime", "openvino", "openvino_int8"} <= set(times)
    assert all(milliseconds > 0 for milliseconds in times.values())


def test_threads_are_those_asked_for_and_pytorch_s_are_put_back(net, monkeypatch):
    before, asked = torch.get_num_threads(), []
    run = on_torch(net, threads=before + 1, device="cpu")
    monkeypatch.setattr(
        torch, "autocast", lambda *a, real=torch.autocast, **k: _noted(asked) or real(*a, **k)
    )
    run(noise(64, 64)[None])
    assert torch.get_num_threads() == before
    assert before + 1 in asked


def _noted(asked):
    asked.append(torch.get_num_threads())


def test_an_engine_that_is_not_installed_is_named_and_the_next_used(folder, monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "openvino" else there(name)
    )
    with pytest.warns(UserWarning, match=r"openvino is not installed .*thesislib\[dep") as caught:
        system = Recogniser(folder, "openvino_int8", threads=1)
    assert str(caught[0].message).startswith("engine openvino_int8:")
    assert system.engine == "onnxruntime"


def test_engines_that_cannot_be_had_say_why(folder):
    about = read_about(folder)
    assert engines.missing(about, "openvino_int8") is None
    files = {name: value for name, value in about["sha256"].items() if name != INT8}
    without = {**about, "sha256": files, "int8": None}
    assert "exported without int8" in engines.missing(without, "openvino_int8")
    refused = {**without, "int8": {"offered": False}}
    assert "too much accuracy" in engines.missing(refused, "openvino_int8")
    with pytest.warns(UserWarning, match="openvino_int8: the net was exported without int8"):
        engine, _ = open_engine(folder, without, "openvino_int8", 1)
    assert engine != "openvino_int8"


def test_unknown_engines_and_wrong_folders_are_refused(folder, classifier_folder, tmp_path):
    with pytest.raises(ValueError, match="'tensorrt' is unknown; choose auto, openvino_int8"):
        Recogniser(folder, "tensorrt")
    with pytest.raises(ValueError, match="a joint net, where a classifier is needed"):
        EngineClassifier(folder, "torch")
    with pytest.raises(ExportError, match="no exported net"):
        Recogniser(tmp_path, "torch")
    with pytest.raises(ValueError, match="finds none by itself"):
        Recogniser(classifier_folder)


# The two-stage baseline's classifier


def test_the_classifier_gives_what_pytorch_gives(classifier, classifier_folder):
    about = read_about(classifier_folder)
    photos = np.stack([noise(64, 80, seed).transpose(2, 0, 1) for seed in range(3)])
    with torch.no_grad():
        wanted = classifier(torch.from_numpy(photos)).numpy()
    for name in ("onnxruntime", "openvino"):
        _, run = open_engine(classifier_folder, about, name, 1)
        np.testing.assert_allclose(run(photos)[0], wanted, atol=2e-3)
    run = on_torch(classifier, threads=1, device="cpu")
    np.testing.assert_allclose(run(photos)[0], wanted, atol=1e-5)


@pytest.mark.parametrize("sees", ["photo", "face"])
def test_the_pipeline_runs_its_classifier_on_an_engine(classifier, classifier_folder, sees, party):
    dataset = read_dataset(party)
    photos = [read_photo(dataset.folder / name) for name in dataset.photos[:4]]
    boxes = [np.array([[2, 3, 40, 44], [10, 5, 60, 50]], np.float32)] * 4
    in_torch, on_engine = (
        TwoStage(net, sees, 0, BoxCalibration(0, 0, 1, 1))
        for net in (classifier, EngineClassifier(classifier_folder, "openvino", threads=1))
    )
    assert on_engine.identify_boxes(photos, boxes) == in_torch.identify_boxes(photos, boxes)
