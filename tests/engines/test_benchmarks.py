"""The benchmark's parts, and a whole run in small."""

import dataclasses
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ANCHORS, face, noise
from torch import nn

from thesislib import paths
from thesislib.baselines.two_stage import TwoStage
from thesislib.benchmarks import headline, limits, nets, sweeps, systems, timing
from thesislib.benchmarks.limits import work_of
from thesislib.benchmarks.peers import Enrolled
from thesislib.benchmarks.targets import MOST_GAP, stage_gaps, targets
from thesislib.data.images import read_photo
from thesislib.data.schema import read_dataset
from thesislib.engine import timing as engine_timing
from thesislib.engine.evaluate import truths_of
from thesislib.engine.timing import joint_stages, take_turns
from thesislib.experiments.config import Config
from thesislib.faces import Face
from thesislib.metrics.boxes import BoxCalibration, box_iou
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


def test_a_system_is_called_once_a_turn_for_its_stages_and_their_total(monkeypatch):
    """On a clock that each stage moves by what it costs, and the pause by a second."""
    clock = [0.0]

    def costs(seconds):
        def work(photo):
            called.append(seconds)
            clock[0] += seconds * photo
            return photo

        return work

    called = []
    monkeypatch.setattr(engine_timing.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(engine_timing.time, "sleep", lambda s: clock.__setitem__(0, clock[0] + s))
    systems = {
        ("a", 1): [("preprocess", costs(0.001)), ("network", costs(0.004))],
        ("b", 2): [("total", costs(0.002))],
    }
    found = timing.turns(systems, [1, 2, 3], runs=3, warm_ups=0, pause=1.0)
    assert list(found) == list(systems) and called == [0.001, 0.004, 0.002] * 3
    assert list(found["a", 1]) == ["preprocess", "network"]
    np.testing.assert_allclose(found["a", 1], [[1, 4], [2, 8], [3, 12]])
    np.testing.assert_allclose(timing.whole(found)["a", 1], [5, 10, 15])
    np.testing.assert_allclose(timing.whole(found)["b", 2], [2, 4, 6])


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


# --- targets and thresholds -------------------------------------------------------------------


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
    table = pd.DataFrame(rows).assign(batch=1, threads=2, people=20, input_px=320)
    return table.reindex(columns=list(BENCHMARK_COLUMNS))


def test_targets_are_met_or_not(measured):
    shares = pd.DataFrame(
        {"backbone": ["resnet34"], "engine": ["openvino_int8"], "share_of_peak": [0.4]}
    )
    found = targets(measured, shares).set_index("target")
    assert found["measured"].tolist() == pytest.approx([10, 20, 3, 0.4, 2, 0.1, 0])
    assert found["met"].tolist() == [True, True, True, False, False, True, True]


def headline_rows(stages, total):
    """A table of one system: its stages and their whole, as the headline writes them."""
    told = {"system": "joint", "engine": "openvino", "backbone": "resnet18", "batch": 1}
    told |= {"people": 20, "input_px": 320}
    rows = [told | {"stage": name, "ms_median": ms} for name, ms in stages.items()]
    # What other parts of the benchmark add: other stages of other calls.
    more = [told | {"stage": "classifier", "people": 10, "ms_median": 7.0}]
    more.append(told | {"stage": "total", "ms_median": 50.0})
    return pd.DataFrame([told | {"stage": "total", "ms_median": total}, *rows, *more])


def test_stages_that_are_not_of_the_total_s_calls_are_told():
    parts = {"preprocess": 0.5, "network": 7.0, "postprocess": 0.5}
    (gap,) = stage_gaps(headline_rows(parts, 8.1))["gap"]
    assert gap == pytest.approx(0.1 / 8.1) and gap < MOST_GAP
    # As committed once: counters of calls without a pause, and a total of calls with one.
    by_counters = {"preprocess": 0.52, "network": 4.825, "postprocess": 0.39}
    (gap,) = stage_gaps(headline_rows(by_counters, 8.98))["gap"]
    assert gap == pytest.approx(1 - 5.735 / 8.98) and gap > MOST_GAP
    # fp32, whose stages were more than the whole.
    above = {"preprocess": 1.03, "network": 55.8, "postprocess": 1.53}
    (gap,) = stage_gaps(headline_rows(above, 53.05))["gap"]
    assert gap > MOST_GAP


class Finds:
    """A system whose answers to a dataset's photos are known beforehand."""

    engine = "none"

    def __init__(self, dataset, answers):
        photos = (read_photo(dataset.folder / name).tobytes() for name in dataset.photos)
        self.answers = dict(zip(photos, answers, strict=True))

    def predict_arrays(self, photos, score_threshold=0.0):
        return [
            [face for face in self.answers[photo.tobytes()] if face.score > score_threshold]
            for photo in photos
        ]

    def stages_at(self, score_threshold):
        return [("network", lambda photo: self.predict_arrays([photo], score_threshold)[0])]


def near_and_far(dataset, seed=0):
    """Answers to a dataset's photos: faces moved a little or much, named rightly or not."""
    draws = np.random.default_rng(seed)
    answers = []
    for truth in truths_of(dataset):
        faces = []
        for box, name in zip(truth["boxes"], truth["identities"], strict=True):
            for _ in range(draws.integers(0, 3)):
                moved = box + draws.normal(0, 4) * np.array([1, 0, 1, 0], np.float32)
                said = name if draws.uniform() < 0.7 else "somebody else"
                faces.append(Face(moved.astype(np.float32), draws.uniform(0.05, 1), said))
        box = np.array([0, 0, 9, 9], np.float32)
        faces.append(Face(box, draws.uniform(0.05, 1), "somebody else"))
        answers.append(sorted(faces, key=lambda face: -face.score))
    return answers


@pytest.mark.parametrize("seed", range(3))
def test_every_threshold_has_what_a_look_at_it_alone_would_give(party, seed):
    dataset = read_dataset(party)
    answers, thresholds = near_and_far(dataset, seed), (0.0, 0.3, 0.6, 2.0)
    found = systems.at_thresholds(Finds(dataset, answers), dataset, thresholds)
    for threshold in thresholds:
        faces, hits, known, right, false = 0, 0, 0, 0, 0
        for truth, answer in zip(truths_of(dataset), answers, strict=True):
            free = list(range(len(truth["boxes"])))
            faces += len(free)
            known += sum(name != "" for name in truth["identities"])
            for one in answer:
                if one.score <= max(threshold, 0.05):
                    continue
                overlap = {at: box_iou(one.box[None], truth["boxes"][[at]])[0, 0] for at in free}
                best = max(overlap, key=overlap.get, default=None)
                if best is None or overlap[best] < 0.5:
                    false += 1
                    continue
                free.remove(best)
                hits += 1
                name = truth["identities"][best]
                right += name != "" and name == one.name
        assert found[threshold] == {
            "recall_50": pytest.approx(hits / faces),
            "joint_accuracy_50": pytest.approx(right / known),
            "false_boxes": pytest.approx(false / len(dataset.photos)),
            "n": faces,
        }
    assert found[0.0]["recall_50"] > found[0.6]["recall_50"] > found[2.0]["recall_50"] == 0


def test_a_pipeline_is_asked_once_for_all_thresholds(party, monkeypatch):
    """Its scores are margins above its own threshold, and boxes are framed alike at all."""
    from thesislib.baselines import two_stage

    dataset = read_dataset(party)
    classifier = torch.nn.Identity()
    classifier.input_px, classifier.identities = 8, ["001"]
    framing = BoxCalibration(dx=0.0, dy=0.0, sw=1.0, sh=1.0)
    pipeline = TwoStage(classifier, "face", 0, framing, 0.0)
    asked = []

    def detect(photo, upsampling, threshold):
        asked.append(threshold)
        margins = np.array([1.0, 0.2, -0.2, -0.9], np.float32)
        boxes = np.array([[4, 20, 29, 48]], np.float32) + 40 * np.arange(4)[:, None]
        return boxes[margins > threshold], margins[margins > threshold]

    monkeypatch.setattr(two_stage, "detect_faces", detect)
    monkeypatch.setattr(TwoStage, "_preprocess", lambda self, state: state[1:])
    monkeypatch.setattr(
        TwoStage,
        "_classify",
        lambda self, state: [Face(*one) for one in zip(*state, strict=True)],
    )
    found = systems.at_thresholds(pipeline, dataset, (-0.5, 0.0, 0.5))
    assert set(asked) == {-0.5} and pipeline.threshold == 0.0
    boxes = {
        threshold: own["false_boxes"] * len(dataset.photos) + own["recall_50"] * own["n"]
        for threshold, own in found.items()
    }
    assert boxes == pytest.approx({-0.5: 3 * 14, 0.0: 2 * 14, 0.5: 14})
    (_, work), *_ = systems.stages_of(pipeline, 0.1)
    assert [round(float(score), 6) for score in work(noise(8, 8))[2]] == [0.9, 0.1]
    assert asked[-1] == 0.1


# --- the gate ---------------------------------------------------------------------------------


def test_the_gate_has_five_hundred_faces_that_are_in_no_other_set():
    size = nets.Size()
    gate = nets.gate_numbers(size)
    spec = SyntheticSet(size.people, size.portraits, 2, size.input_px)
    portraits = {numbers for task in spec.tasks() for numbers in task}
    assert len(set(gate)) == len(gate) >= 500  # a portrait has one face
    assert not portraits & set(gate)
    assert {numbers[:2] for numbers in gate} == {numbers[:2] for numbers in portraits}


@pytest.mark.parametrize(
    ("accuracy", "iou", "passes"),
    [(0.95, 0.80, True), (0.945, 0.79, True), (0.944, 0.80, False), (0.95, 0.789, False)],
)
def test_an_engine_that_costs_too_much_does_not_pass(party, monkeypatch, accuracy, iou, passes):
    full = {"joint_accuracy_50": 0.95, "mean_iou": 0.80}
    asked = []

    class Opened:
        def __init__(self, folder, engine, threads):
            asked.append(engine)

    monkeypatch.setattr(systems, "read_about", lambda folder: {"int8": {"fp32": full}})
    engines = ["openvino_int8", "openvino_bf16", "openvino", "onnxruntime", "torch"]
    monkeypatch.setattr(systems, "available", lambda folder: engines)
    monkeypatch.setattr(systems, "Recogniser", Opened)
    lowered = {"joint_accuracy_50": accuracy, "mean_iou": iou}
    monkeypatch.setattr(systems, "accuracy", lambda system, dataset: lowered)
    check = read_dataset(party)
    judged = systems.gate(paths.DATA, check, 1).set_index("engine")
    assert asked == ["openvino_int8", "openvino_bf16"]
    assert judged["offered"].to_dict() == {"openvino": True} | dict.fromkeys(asked, passes)
    assert set(judged["n"]) == {check.table["x1"].notna().sum()}


# --- peers ------------------------------------------------------------------------------------


def test_enrolled_people_are_named_by_the_nearest_mean(write_dataset):
    boxes = {"anna": (5, 4, 25, 24), "ben": (15, 4, 45, 30)}
    rows = [face(f"{name}{at}.png", name, box) for name, box in boxes.items() for at in range(2)]
    dataset = read_dataset(write_dataset(rows))
    vectors = [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]]
    # The system's boxes are half as large as the dataset's.
    answers = [
        [Face(middle_of(boxes[row["identity"]]), 0.9, embedding=np.array(vector, np.float32))]
        for row, vector in zip(rows, vectors, strict=True)
    ]
    known = Enrolled(Finds(dataset, answers), dataset)
    photos = [read_photo(dataset.folder / name) for name in dataset.photos]
    told = [found.name for (found,) in known.predict_arrays(photos, 0.5)]
    assert told == ["anna", "anna", "ben", "ben"]
    assert known.predict_arrays(photos, 0.95) == [[]] * 4
    assert [name for name, _ in known.stages_at(0.5)] == ["network", "classifier"]
    assert known.calibration.sw == pytest.approx(2) and known.calibration.sh == pytest.approx(2)
    assert systems.accuracy(known, dataset) == {
        "joint_accuracy_50": 1.0,
        "mean_iou": pytest.approx(1.0),
        "recall_50": 1.0,
    }


def middle_of(box):
    x1, y1, x2, y2 = box
    width, height = (x2 - x1) / 4, (y2 - y1) / 4
    return np.array([x1 + width, y1 + height, x2 - width, y2 - height], np.float32)


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
