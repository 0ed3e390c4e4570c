"""The benchmark's parts, and a whole run in small."""

import dataclasses
import importlib.util
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ANCHORS, noise
from torch import nn

from thesislib import paths
from thesislib.benchmarks import headline, limits, nets, sweeps, timing
from thesislib.benchmarks.limits import work_of
from thesislib.benchmarks.peers import peers
from thesislib.benchmarks.targets import targets
from thesislib.engine.timing import joint_stages, take_turns
from thesislib.experiments.config import Config
from thesislib.models.joint import JointNet
from thesislib.profiles import get_profile
from thesislib.synthetic import sets
from thesislib.synthetic.spec import SyntheticSet
from thesislib.tables import BENCHMARK_COLUMNS


def small_net(**settings):
    torch.manual_seed(0)
    usual = {"input_px": 64, "pooling": 1, "embedding_dim": 8}
    return JointNet(["a", "b"], ANCHORS, backbone="resnet18", **usual | settings).eval()


# --- timing -----------------------------------------------------------------------------------


def test_systems_take_turns_on_the_same_photo():
    called = []
    systems = {
        name: [("one", lambda p, n=name: called.append((n, p)) or p), ("two", lambda p: p)]
        for name in "ab"
    }
    table = take_turns(systems, [0, 1], runs=3, warm_ups=1)
    assert called == [(name, photo) for photo in (0, 1, 0, 1) for name in "ab"]
    assert len(table) == 2 * 2 * 3 and (table["ms"] >= 0).all()
    assert sorted(table["turn"].unique()) == [0, 1, 2]


def test_the_stages_of_a_turn_are_the_whole_call():
    """Each stage ends where the next begins: nothing is left out, nothing counted twice."""
    sleeps = {"short": 0.02, "long": 0.06}

    def sleep(seconds):
        import time

        return lambda photo: time.sleep(seconds)

    stages = {"net": [(name, sleep(seconds)) for name, seconds in sleeps.items()]}
    whole = {"net": [("total", lambda p: [work(p) for _, work in stages["net"]])]}
    parts = take_turns(stages, [0], runs=5, warm_ups=1).groupby("stage")["ms"].median()
    total = take_turns(whole, [0], runs=5, warm_ups=1)["ms"].median()
    assert parts["short"] == pytest.approx(20, abs=8) and parts["long"] == pytest.approx(60, abs=8)
    assert parts.sum() == pytest.approx(total, abs=10)


def test_the_stages_of_a_net_give_what_the_net_gives():
    net, photo = small_net(), noise(64, 80)
    value = photo
    for name, work in joint_stages(net, 0.01):  # noqa: B007
        value = work(value)
    assert name == "postprocess"
    (found,) = net.detect(torch.from_numpy(photo).permute(2, 0, 1)[None], 0.01)
    np.testing.assert_allclose(value[1], found["boxes"], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(value[2], found["scores"], rtol=1e-4)


def test_a_call_is_divided_by_counters_even_where_they_add_up_to_more():
    nodes = [1.0, 2.0, 3.0, 4.0]
    assert timing.divided(nodes, 1, 2, whole=12.0) == (1.0, 5.0, 6.0, 12.0)  # 2 ms outside
    assert timing.divided(nodes, 1, 2, whole=5.0) == (0.5, 2.5, 2.0, 5.0)


def test_whole_calls_are_known_by_their_systems_key():
    found = timing.times({("a", 1): lambda p: p, ("b", 2): lambda p: p}, [0], runs=2, warm_ups=0)
    assert set(found) == {("a", 1), ("b", 2)} and all(ms.shape == (2,) for ms in found.values())


# --- work and limits --------------------------------------------------------------------------


def test_work_is_that_of_the_convolutions():
    net = small_net()
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
        net(torch.zeros(1, 3, 64, 64))
    assert operations == counted
    assert moved == numbers


def test_an_earlier_stage_gives_a_finer_grid():
    net = small_net(stride=16)
    with torch.no_grad():
        regression, embeddings = net(torch.zeros(1, 3, 320, 320))
    assert regression.shape == (1, 2, 5, 20, 20)
    assert embeddings.shape == (1, 8, 2, 20, 20)


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


def test_peak_memory_is_the_most_a_process_held_and_not_what_it_ends_with():
    code = (
        "import numpy as np; from thesislib.benchmarks.peak_memory import peak_mb; "
        "before = peak_mb(); held = np.ones(40_000_000); del held; print(peak_mb() - before)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(told.stdout) == pytest.approx(8 * 40_000_000 / 2**20, rel=0.1)


# --- nets -------------------------------------------------------------------------------------


def test_a_net_begins_as_another_where_it_fits():
    first, other = small_net(), JointNet(["a", "b"], ANCHORS, 96, "resnet34", embedding_dim=8)
    nets._begin_as(other, first)
    for name, value in first.state_dict().items():
        if not name.startswith("anchors"):
            assert torch.equal(other.state_dict()[name], value), name
    # Blocks of a ResNet34 that a ResNet18 has not got change nothing yet.
    photos = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    other.pool, other.cell = nn.Identity(), first.cell
    with torch.no_grad():
        torch.testing.assert_close(other.eval()(photos).regression, first(photos).regression)


def test_other_people_keep_their_own_classifier():
    first, other = small_net(), JointNet(["c", "d"], ANCHORS, 64, "resnet18", embedding_dim=8)
    before = other.classifier.conv.weight.clone()
    nets._begin_as(other, first)
    assert torch.equal(other.classifier.conv.weight, before)
    assert torch.equal(other.embedding_head.weight, first.embedding_head.weight)


def test_photos_are_enlarged_to_their_shorter_side():
    assert sweeps.enlarged(noise(30, 40), 60).shape == (60, 80, 3)


# --- targets and peers ------------------------------------------------------------------------


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
    table = pd.DataFrame(rows).assign(batch=1, threads=2)
    return table.reindex(columns=list(BENCHMARK_COLUMNS))


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


# --- whole runs -------------------------------------------------------------------------------


def test_nets_are_compared_plain_and_on_the_best_engine(kept_folders):
    folder = paths.DATA / "synthetic-few"
    sets.make(folder, SyntheticSet(2, 16, 2, 96), workers=1, progress=False)
    profile = dataclasses.replace(get_profile("smoke"), epochs=1)
    table = headline.compare_engines(Config(folder, profile), runs=2)
    table = table.set_index(["system", "engine"])
    assert len(table) == 4
    assert table["ratio"]["two_stage_photo", "torch"] == 1
    assert (table["ms_median"] > 0).all()
    of_joint = table.loc["joint"]
    assert of_joint["mean_iou"].to_numpy() == pytest.approx(of_joint["mean_iou"].mean(), abs=0.02)
