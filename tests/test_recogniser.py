"""One interface over the engines; any photo or a clear error; the fastest is remembered."""

import importlib.util
import resource
import shutil
import subprocess

import numpy as np
import pytest
import torch
from conftest import noise

from thesislib import paths, storage
from thesislib.baselines.two_stage import TwoStage
from thesislib.benchmarks.peak_memory import peak_memory
from thesislib.data.images import as_photo
from thesislib.deploy import engines, export
from thesislib.deploy.engines import ENGINES
from thesislib.deploy.recogniser import EngineClassifier, Recogniser
from thesislib.engine.systems import Joint
from thesislib.models.face_classifier import FaceClassifier
from thesislib.models.joint import JointNet

INPUT_PX = 64


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = JointNet(["anna", "boris"], [[16.0, 20.0]], "resnet18", pooling=1, embedding_dim=8)
    with torch.no_grad():
        net.regression_head.weight.normal_(std=0.1)
        net.regression_head.bias.view(1, 5)[:, 4] = 0
    return net.eval()


@pytest.fixture(scope="module")
def folder(net, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recogniser") / "net"
    export.export(net, INPUT_PX, folder, [noise(64, 80, seed) for seed in range(4)])
    return folder


@pytest.fixture
def own_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    return tmp_path


NEEDS_A_COMPILER = pytest.mark.skipif(
    not (shutil.which("c++") or shutil.which("g++")),
    reason="torch.compile needs a C++ compiler on a CPU, and there is none",
)


@pytest.mark.parametrize(
    "engine",
    [
        pytest.param(e, marks=NEEDS_A_COMPILER) if e == "torch_compile" else e
        for e in ENGINES
        if e != "openvino_bf16"
    ],
)
def test_every_engine_answers_in_the_same_form(net, folder, engine):
    recognise = Recogniser(folder, engine, threads=1)
    assert recognise.engine == engine
    photo = noise(90, 70)
    found, wanted = recognise(photo), Joint(net, INPUT_PX)(photo)
    count = len(found["boxes"])
    assert found["boxes"].shape == (count, 4)
    assert found["boxes"].dtype == found["scores"].dtype == np.float32
    assert found["embeddings"].shape == (count, 8)
    np.testing.assert_allclose(np.linalg.norm(found["embeddings"], axis=1), 1, atol=1e-5)
    assert len(found["identities"]) == len(found["identity_scores"]) == count
    assert set(found["identities"]) <= {"anna", "boris"}
    if engine != "openvino_int8":
        assert count == len(wanted["boxes"]) > 0
        np.testing.assert_allclose(np.sort(found["scores"]), np.sort(wanted["scores"]), atol=2e-3)


def test_a_batch_of_any_sizes_is_the_photos_one_by_one(folder):
    recognise = Recogniser(folder, "openvino", threads=1)
    photos = [noise(64, 80, 0), noise(50, 70, 1), noise(64, 80, 2)]
    for found, photo in zip(recognise.batch(photos), photos, strict=True):
        alone = recognise(photo)
        np.testing.assert_allclose(found["boxes"], alone["boxes"], atol=1e-2)
        assert found["identities"] == alone["identities"]
    assert recognise.batch([]) == []


def test_an_answer_is_not_overwritten_by_the_next(folder):
    recognise = Recogniser(folder, "openvino", threads=1)
    found = recognise(noise(64, 80, 0))
    kept = found["boxes"].copy()
    recognise(noise(64, 80, 1))
    np.testing.assert_array_equal(found["boxes"], kept)


# Photos


def test_grey_uint16_and_float_photos_are_the_uint8_photo():
    photo = noise(5, 4)
    np.testing.assert_array_equal(as_photo(photo.astype(np.uint16) * 257), photo)
    np.testing.assert_array_equal(as_photo(photo / 255), photo)
    np.testing.assert_array_equal(as_photo((photo / 255).astype(np.float32)), photo)
    grey = photo[:, :, :1]
    np.testing.assert_array_equal(as_photo(grey), np.repeat(grey, 3, axis=2))
    np.testing.assert_array_equal(as_photo(grey[:, :, 0]), as_photo(grey))


@pytest.mark.parametrize(
    ("photo", "message"),
    [
        (np.zeros((4, 4, 4), np.uint8), r"shape \(4, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\)"),
        (np.zeros((2, 4, 4, 3), np.uint8), "shape"),
        (np.full((4, 4, 3), 255.0), "values 255 to 255.*0..1"),
        (np.full((4, 4, 3), np.nan), "0..1"),
        (np.zeros((4, 4, 3), np.int64), "photo of int64"),
    ],
)
def test_what_is_no_photo_is_named(photo, message):
    with pytest.raises(ValueError, match=message):
        as_photo(photo)


@pytest.mark.parametrize("engine", ["torch", "onnxruntime", "openvino"])
def test_tiny_and_long_photos(folder, engine):
    recognise = Recogniser(folder, engine, threads=1)
    assert len(recognise(noise(1, 1))["boxes"]) >= 0
    assert len(recognise(noise(1, 50))["boxes"]) >= 0
    with pytest.raises(ValueError, match=r"photo 0, 10000 x 1 pixels.*640000 x 64"):
        Recogniser.batch(recognise, [noise(1, 10000)])


# Engines


def test_the_fastest_is_measured_once(folder, own_runs, monkeypatch):
    monkeypatch.setattr(
        recogniser, "time_engines", lambda *_: {"openvino": 1.0, "torch": 2.0, "onnxruntime": 0.5}
    )
    assert Recogniser(folder).engine == "onnxruntime"
    monkeypatch.setattr(recogniser, "time_engines", lambda *_: pytest.fail("measured again"))
    assert Recogniser(folder).engine == "onnxruntime"
    storage.write_text(own_runs / engines.CHOICES, "{damaged")
    monkeypatch.setattr(recogniser, "time_engines", lambda *_: {"openvino": 1.0})
    assert Recogniser(folder).engine == "openvino"


def test_timing_takes_every_engine_that_is_there(folder):
    times = engines.time_engines(folder, export.read_about(folder), 1)
    assert {"torch", "onnxruntime", "openvino", "openvino_int8"} <= set(times)
    assert all(seconds > 0 for seconds in times.values())


def test_an_engine_that_is_not_installed_is_named_and_the_next_used(folder, monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "openvino" else there(name)
    )
    with pytest.warns(UserWarning, match="openvino is not installed .pip install") as caught:
        recognise = Recogniser(folder, "openvino_int8", threads=1)
    assert str(caught[0].message).startswith("engine openvino_int8:")
    assert recognise.engine == "onnxruntime"


def test_engines_that_cannot_be_had_say_why(folder):
    about = export.read_about(folder)
    assert engines.missing(about, "openvino_int8") is None
    files = {name: value for name, value in about["sha256"].items() if name != export.INT8}
    without = {**about, "sha256": files, "int8": None}
    assert "exported without int8" in engines.missing(without, "openvino_int8")
    refused = {**without, "int8": {"offered": False}}
    assert "too much accuracy" in engines.missing(refused, "openvino_int8")
    assert "its own code" in engines.missing({**about, "net": None}, "torch")
    with pytest.warns(UserWarning, match="openvino_int8: the net was exported without int8"):
        engine, _ = engines.open_engine(folder, without, "openvino_int8", 1)
    assert engine != "openvino_int8"


def test_unknown_engines_and_wrong_folders_are_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="'tensorrt' is unknown; choose auto, openvino_int8"):
        Recogniser(folder, "tensorrt")
    with pytest.raises(ValueError, match="a joint net, where a classifier is needed"):
        EngineClassifier(folder, "torch")
    with pytest.raises(export.ExportError, match="no exported net"):
        Recogniser(tmp_path, "torch")


def test_the_pipeline_runs_its_classifier_on_an_engine(tmp_path):
    torch.manual_seed(0)
    classifier = FaceClassifier(["anna", "boris"], "resnet18", embedding_dim=8).eval()
    folder = tmp_path / "classifier"
    export.export(classifier, INPUT_PX, folder)
    boxes = np.array([[2, 3, 40, 44], [10, 5, 60, 50]], np.float32)
    photo = noise(64, 80)
    with pytest.raises(ValueError, match="finds none by itself"):
        Recogniser(folder)
    for sees in ("photo", "face"):
        in_torch, on_engine = (
            TwoStage(net, sees, INPUT_PX, 0, None)
            for net in (classifier, EngineClassifier(folder, "openvino", threads=1))
        )
        assert on_engine.identify_at(photo, boxes) == in_torch.identify_at(photo, boxes)


def test_peak_memory_is_that_of_a_process_of_its_own(folder):
    ballast = np.ones(2**28, np.uint8)  # 256 MB that are not its own
    peak = peak_memory(folder, "torch", 64)
    assert 100 < peak < resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    assert ballast.all()
    with pytest.raises(subprocess.CalledProcessError):
        peak_memory(folder / "nowhere", "torch", 64)
