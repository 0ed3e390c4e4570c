"""The benchmark's parts: turns, work, grids, targets, what is said of missing peers."""

import dataclasses
import importlib.util

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ANCHORS, noise
from torch import nn

from thesislib.baselines.two_stage import TwoStage
from thesislib.benchmarks import headline, limits, timing
from thesislib.benchmarks.headline import COLUMNS, measured_accuracy, targets
from thesislib.benchmarks.limits import work_of
from thesislib.benchmarks.nets import EarlyStageNet
from thesislib.benchmarks.peers import peers
from thesislib.benchmarks.timing import take_turns
from thesislib.experiments import baseline_comparison
from thesislib.experiments.baseline_comparison import Experiment
from thesislib.metrics.boxes import BoxCalibration
from thesislib.models.joint import JointNet
from thesislib.models.loss import JointLoss
from thesislib.profiles import get_profile
from thesislib.synthetic import sets
from thesislib.synthetic.spec import SyntheticSet


def test_systems_take_turns_on_the_same_photo():
    called = []
    systems = {name: lambda photo, name=name: called.append((name, photo)) for name in "ab"}
    times = take_turns(systems, [0, 1], runs=3, warm_ups=1)
    assert called == [(name, photo) for photo in (0, 1, 0, 1) for name in "ab"]
    assert all(values.shape == (3,) and (values >= 0).all() for values in times.values())


def test_work_is_that_of_the_convolutions():
    net = JointNet(["a", "b"], ANCHORS, "resnet18", pooling=1, embedding_dim=8).eval()
    operations, moved = work_of(net, noise(64, 64))
    counted, numbers = 0, 0

    def count(module, inputs, output):
        nonlocal counted, numbers
        _, out, rows, columns = output.shape
        taken = module.in_channels * module.kernel_size[0] * module.kernel_size[1]
        for _ in range(rows):
            for _ in range(columns):
                counted += 2 * out * taken
        numbers += inputs[0].numel() + out * taken + out * rows * columns

    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    with torch.no_grad():
        net.heads(torch.zeros(1, 3, 64, 64))
    assert operations == counted
    assert moved == numbers


def test_an_earlier_stage_gives_a_finer_grid():
    net = EarlyStageNet(["a", "b"], ANCHORS, "resnet18", 8, True, JointLoss()).eval()
    with torch.no_grad():
        regression, embeddings = net.heads(torch.zeros(1, 3, 320, 320))
    assert regression.shape == (1, 2, 5, 20, 20)
    assert embeddings.shape == (1, 8, 2, 20, 20)
    assert float(regression[:, :, 4].sigmoid().mean()) < 0.2
    assert net([torch.zeros(3, 64, 80)])[0]["boxes"].shape[1] == 4


def test_the_machine_s_limits_are_measured(monkeypatch):
    monkeypatch.setattr(limits, "best_seconds", lambda work: work() is None or 0.5)
    found = limits.machine_limits().set_index("limit")["value"]
    assert set(found.index) == {"fp32", "bf16", "int8", "memory"}
    assert found["int8"] == 2 * 2048**3 / 0.5
    assert found["memory"] == 2 * 2**28 / 0.5


def test_the_best_of_several_calls_is_taken():
    calls = []
    seconds = limits.best_seconds(lambda: calls.append(1), seconds=0.01)
    assert len(calls) > 1
    assert 0 < seconds < 0.01


@pytest.fixture
def measured():
    """A table with round numbers: pipeline 100 ms, int8 10 ms, twice as slow with 8 faces."""
    rows = []
    for system, engine, backbone, ms in (
        ("two_stage_up1", "torch", "resnet34", 100.0),
        ("two_stage_up0", "openvino_int8", "resnet34", 30.0),
        ("joint", "openvino_int8", "resnet34", 10.0),
        ("joint", "torch", "resnet34", 50.0),
        ("joint", "openvino_int8", "resnet18", 5.0),
    ):
        row = {"system": system, "engine": engine, "backbone": backbone, "ms_median": ms}
        row |= {"stage": "total", "faces": 1, "joint_accuracy_50": 0.9, "recall_50": 1.0}
        rows.append(row | {"ratio_to_thesis_pipeline": 100 / ms, "grid": 5})
    for faces, ms in ((1, 4.0), (8, 8.0)):
        row = {"system": "joint", "engine": "openvino_int8", "backbone": "resnet18", "grid": 10}
        rows.append(row | {"stage": "total", "faces": faces, "ms_median": ms, "recall_50": 0.5})
    for stage, ms in (("preprocess", 0.5), ("network", 9.0), ("postprocess", 0.5)):
        row = {"system": "joint", "engine": "openvino_int8", "backbone": "resnet34", "grid": 5}
        rows.append(row | {"stage": stage, "faces": 1, "ms_median": ms})
    return pd.DataFrame(rows).assign(batch=1, threads=2).reindex(columns=list(COLUMNS))


def test_targets_are_met_or_not(measured):
    shares = pd.DataFrame(
        {"backbone": ["resnet34"], "engine": ["openvino_int8"], "share_of_peak": [0.4]}
    )
    found = targets(measured, shares).set_index("target")
    assert found["measured"].tolist() == pytest.approx([10, 20, 3, 0.4, 2, 0.1])
    assert found["met"].tolist() == [True, True, True, False, False, True]


def test_peers_that_are_missing_are_named(tmp_path, monkeypatch, capsys):
    assert peers(None) == {}
    there = importlib.util.find_spec
    hidden = ("cv2", "facenet_pytorch")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in hidden else there(name)
    )
    assert peers(tmp_path) == {}
    said = capsys.readouterr().out
    assert "yunet_sface: opencv-python is not installed" in said
    assert "mtcnn: facenet-pytorch is not installed" in said
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "cv2" or None)
    assert peers(tmp_path) == {}
    assert (
        f"yunet_sface: no face_detection_yunet*.onnx and face_recognition_sface*.onnx in {tmp_path}"
        in capsys.readouterr().out
    )


def test_photos_are_enlarged_to_their_shorter_side():
    assert headline._enlarged(noise(30, 40), 60).shape == (60, 80, 3)


def test_stages_add_up_to_the_whole_call():
    net = JointNet(["a", "b"], ANCHORS, "resnet18", pooling=1, embedding_dim=8).eval()
    stages = timing.torch_stage_times(net, 64, noise(64, 80), runs=2)
    assert list(stages) == ["preprocess", "network", "postprocess"]
    assert all(np.isfinite(ms) and ms > 0 for ms in stages.values())


def test_pipelines_share_what_the_detector_found(monkeypatch):
    seen = []

    def detect(photo, upsampling):
        seen.append(upsampling)
        return np.array([[10.0, 10, 30, 30]], np.float32), np.array([1.0], np.float32)

    monkeypatch.setattr(systems, "detect_faces", detect)
    moved = BoxCalibration(0.0, 0.0, 1.0, 1.0)
    pipelines = {
        (upsampling, identity): TwoStage(_Always(identity), "photo", 32, upsampling, moved)
        for upsampling in (0, 1)
        for identity in (0, 1)
    }
    photos = [noise(40, 50), noise(50, 40)]
    truth = {"boxes": np.array([[10.0, 10, 30, 30]]), "identities": ["b"]}
    found = measured_accuracy(pipelines, photos, [truth, truth])
    assert seen == [0, 0, 1, 1]
    assert [found[key]["joint_accuracy_50"] for key in pipelines] == [0, 1, 0, 1]
    assert [found[key]["recall_50"] for key in pipelines] == [1] * 4


class _Always(nn.Module):
    """A classifier that always names the same person."""

    identities = ("a", "b")

    def __init__(self, identity: int) -> None:
        super().__init__()
        self.answer = torch.eye(2)[identity : identity + 1]

    def forward(self, photos):
        return self.answer.expand(len(photos), 2)


def test_nets_are_compared_plain_and_on_the_best_engine(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "PAUSE", 0)
    sets.make(tmp_path / "synthetic-few", SyntheticSet(2, 16, 2, 96), workers=1, progress=False)
    monkeypatch.setattr(baseline_comparison.paths, "RUNS", tmp_path / "runs")
    profile = dataclasses.replace(get_profile("smoke"), epochs=1)
    experiment = Experiment(tmp_path / "synthetic-few", "photo", profile, progress=False)
    table = headline.compare_engines(experiment, runs=2).set_index(["system", "engine"])
    assert len(table) == 4
    assert table["ratio"]["two_stage_photo", "torch"] == 1
    assert (table["ms_median"] > 0).all()
    of_joint = table.loc["joint"]
    assert of_joint["mean_iou"].to_numpy() == pytest.approx(of_joint["mean_iou"].mean(), abs=0.02)
