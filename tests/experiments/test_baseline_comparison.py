"""Experiment 1 from end to end, on photos of several people with names a table may misread."""

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import DEVICES, PARTY
from guests import SIZE, write_guests
from PIL import Image

from thesislib import paths, tables
from thesislib.engine import train
from thesislib.experiments import baseline_comparison as comparison
from thesislib.experiments import config as configs
from thesislib.experiments.config import Config
from thesislib.metrics.statistics import bootstrap_interval, mcnemar_exact
from thesislib.models.joint import JointNet
from thesislib.profiles import Profile

PROFILE = Profile(
    "tiny",
    backbone="resnet18",
    input_px=64,
    pooling=1,
    anchors=1,
    normalised=True,
    embedding_dim=8,
    epochs=1,
    batch=8,
)
SYSTEMS = ("joint", "two_stage_photo", "two_stage_face")
NAMING = (*SYSTEMS[1:], "pixel_nn_photo", "dlib_aligned_class_mean", "dlib_aligned_nearest")


@contextlib.contextmanager
def rooted(folder):
    """Runs and tables go below a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "RUNS", folder / "runs")
        patch.setattr(paths, "TABLES", folder / "runs/figures/tables")
        patch.setenv("TQDM_DISABLE", "1")
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def config(root):
    """A config that was run."""
    with rooted(root):
        config = Config(write_guests(root / "guests"), PROFILE, seed=3)
        comparison.run(config)
        yield config


@pytest.fixture(scope="module")
def results(config, root):
    return tables.read_results(root / "runs/figures/tables/experiment1.csv")


@pytest.fixture
def apart(config, root, tmp_path):
    """The run's files in a folder of its own, to be changed."""
    shutil.copytree(root / "runs", tmp_path / "runs")
    with rooted(tmp_path):
        yield tmp_path


def test_every_system_has_every_metric(results):
    for system in SYSTEMS:
        found = set(results[results["system"] == system]["metric"])
        assert found >= {"accuracy", "joint_accuracy_50", "ap50", "fps", "oracle_box_accuracy"}
        assert ({"mcnemar_p", "sign_flip_p"} <= found) == (system != "joint")


def test_references_have_what_can_be_measured_of_them(config, results):
    found = results.groupby("system")["metric"].agg(set)
    assert set(found.index) == {*SYSTEMS, *tables.REFERENCES}
    boxes = {"mean_iou", "mean_iou_found", "mean_iou_calibrated", "recall_50", "ap50", "ap50_95"}
    names = {"accuracy", "joint_accuracy_50", "joint_accuracy_75"}
    tests = {"mcnemar_p", "sign_flip_p"}
    assert found["chance"] == {"accuracy", "oracle_box_accuracy"}
    assert found["constant_box"] == boxes
    assert found["pixel_nn_photo"] == boxes | names | tests | {"oracle_box_accuracy"}
    for name in ("pixel_nn_face", "hog_nearest", "hog_class_mean"):
        assert found[name] == {"oracle_box_accuracy"}
    for name in ("dlib_aligned_nearest", "dlib_aligned_class_mean"):
        assert found[name] == boxes | names | tests | {"oracle_box_accuracy"}
    rows = results[results["system"].isin(tables.REFERENCES)].set_index("system")
    assert set(rows["start"]) == {"none"}
    by_dlib = rows["backbone"] == "dlib"
    assert set(rows.index[by_dlib]) == {"dlib_aligned_nearest", "dlib_aligned_class_mean"}
    people = len(configs.parts(config).train.identities)
    assert rows.loc["chance", "value"].tolist() == pytest.approx([1 / people] * 2, rel=1e-5)


def test_average_precision_has_an_interval_and_its_detections_are_kept(config, results):
    kept = comparison.evaluate(config, "joint")
    row = results.set_index(["system", "metric"]).loc[("joint", "ap50")]
    assert row["low"] <= row["value"] <= row["high"] and row["low"] < row["high"]
    assert {"photo", "score", "right"} <= set(kept.detections)
    assert len(kept.detections) >= kept.faces["found"].sum()


def test_rows_say_what_was_run_and_the_tables_may_be_drawn_alone(config, results):
    assert set(results["run"]) == {configs.key(config)}
    assert set(results["start"][results["system"].isin(SYSTEMS)]) == {"scratch"}
    assert set(results["command"]) == {configs.command(config, "experiment1")}
    for file in (
        comparison.PHOTOS_TABLE,
        comparison.FACES_TABLE,
        comparison.TRAINING_TABLE,
        comparison.STAGES_TABLE,
    ):
        rows = comparison.own_rows(config, file)
        assert set(rows["system"]) == set(SYSTEMS)
        assert set(tables.RUN_COLUMNS) <= set(rows)


def test_names_are_those_of_the_dataset(config):
    faces = comparison.own_rows(config, comparison.FACES_TABLE)
    test = configs.parts(config).test
    for _, mine in faces.groupby("system"):
        assert (
            mine["identity"].tolist() == test.table["identity"][test.table["x1"].notna()].tolist()
        )
    assert set(faces["identity"]) == {*PARTY, ""} - (
        {""} if "" not in set(faces["identity"]) else set()
    )
    assert set(faces["oracle_identity"]) <= set(PARTY)
    assert (faces.groupby(["system", "photo"]).size() > 1).any()


def test_results_are_those_of_the_faces_and_photos(config, results):
    photos = comparison.own_rows(config, comparison.PHOTOS_TABLE)
    faces = comparison.own_rows(config, comparison.FACES_TABLE)
    for system in SYSTEMS:
        value = results[results["system"] == system].set_index("metric")["value"]
        mine = photos[(photos["system"] == system) & photos["known"]]
        assert value["accuracy"] == pytest.approx(mine["correct"].mean(), abs=1e-5)
        mine = faces[(faces["system"] == system) & (faces["identity"] != "")]
        named = mine["identity"] == mine["predicted_identity"]
        joint = (named & (mine["iou_calibrated"] >= 0.5)).mean()
        assert value["joint_accuracy_50"] == pytest.approx(joint, abs=1e-5)
        oracle = (mine["identity"] == mine["oracle_identity"]).mean()
        assert value["oracle_box_accuracy"] == pytest.approx(oracle, abs=1e-5)


def test_intervals_are_over_people(config, results):
    row = results.set_index(["system", "metric"]).loc[("two_stage_face", "mean_iou_calibrated")]
    faces = comparison.own_rows(config, comparison.FACES_TABLE)
    mine = faces[faces["system"] == "two_stage_face"]
    low, high = bootstrap_interval(mine["iou_calibrated"], groups=mine["identity"], seed=3)
    assert (row["low"], row["high"]) == (
        pytest.approx(low, abs=1e-5),
        pytest.approx(high, abs=1e-5),
    )
    alone = bootstrap_interval(mine["iou_calibrated"], groups=mine["photo"], seed=3)
    assert alone[0] != pytest.approx(low, abs=1e-5)


def test_a_detector_is_brought_to_the_datasets_framing_and_the_joint_net_is_not(config):
    faces = comparison.own_rows(config, comparison.FACES_TABLE).set_index("system")
    joint, pipeline = faces.loc["joint"], faces.loc["two_stage_photo"]
    assert joint["iou"].tolist() == joint["iou_calibrated"].tolist()
    assert pipeline["found"].any()
    assert pipeline["iou"].tolist() != pipeline["iou_calibrated"].tolist()


def test_training_is_told_epoch_by_epoch(config):
    training = comparison.own_rows(config, comparison.TRAINING_TABLE)
    assert set(training["epoch"]) == {1}
    for _, mine in training.groupby("system"):
        assert {"total", "identity_accuracy", "photos_per_second"} <= set(mine["metric"])


def test_timing_is_turn_by_turn(config, results):
    stages = comparison.own_rows(config, comparison.STAGES_TABLE)
    turns = stages.groupby("system")["turn"].unique()
    assert all(len(turn) == comparison.TIMED >= 30 for turn in turns)
    assert len({tuple(turn) for turn in turns}) == 1
    assert set(stages["stage"]) >= {"detector", "classifier", "network"}
    ms = stages[stages["system"] == "joint"].groupby("turn")["ms"].sum()
    fps = results[(results["metric"] == "fps") & (results["system"] == "joint")]
    assert float(fps["value"].iloc[0]) == pytest.approx(1000 / ms.median(), rel=1e-4)


def test_asked_again_nothing_is_trained_tested_or_timed(config, apart, monkeypatch):
    before = (apart / "runs/figures/tables/experiment1.csv").read_bytes()

    def never(*_, **__):
        raise AssertionError("done again")

    monkeypatch.setattr(train, "fit", never)
    monkeypatch.setattr(comparison, "evaluate_system", never)
    monkeypatch.setattr(comparison, "take_turns", never)
    comparison.run(config)
    assert (apart / "runs/figures/tables/experiment1.csv").read_bytes() == before


def test_a_run_on_another_day_keeps_the_commit_its_results_were_computed_at(
    config, apart, monkeypatch
):
    monkeypatch.setattr(configs, "commit", lambda: "another")
    rows = comparison.run(config)
    assert "another" not in set(rows["commit"])
    for file in (comparison.PHOTOS_TABLE, comparison.FACES_TABLE):
        assert "another" not in set(tables.read_table(paths.TABLES / file)["commit"]), file


def test_another_dataset_of_the_same_name_has_rows_of_its_own(config, apart, tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "TIMED", 2)
    other = tmp_path / "elsewhere/guests"
    shutil.copytree(config.data, other)
    Image.fromarray(np.zeros((SIZE, SIZE, 3), np.uint8)).save(other / "photos/011.png")
    again = comparison.run(dataclasses.replace(config, data=other), ["joint"])
    merged = tables.read_results(apart / "runs/figures/tables/experiment1.csv")
    assert set(merged["dataset"]) == {"guests"}
    assert merged["run"].nunique() == 2
    assert set(again["run"]) < set(merged["run"])
    assert set(merged[merged["metric"] == "mcnemar_p"]["run"]) == {configs.key(config)}


def correct(folder, system, value):
    """Say of a system that it names everybody rightly, or nobody, in what is kept of its test."""
    (file,) = (folder / "runs/tests").glob(f"*-{system}-*/photos.csv")
    photos = tables.read_table(file).assign(correct=value)
    file.write_text(photos.to_csv(index=False))
    return photos


@pytest.mark.parametrize("again", [["joint"], ["two_stage_face"]])
def test_one_system_again_is_compared_anew_with_those_that_are_there(
    config, apart, again, monkeypatch
):
    monkeypatch.setattr(comparison, "TIMED", 2)
    path = apart / "runs/figures/tables/experiment1.csv"
    for system in SYSTEMS:
        photos = correct(apart, system, system not in again)
    rows = comparison.run(config, again)
    assert {*rows["system"]} == ({*again} if "joint" not in again else {"joint", *NAMING})
    merged = tables.read_results(path).set_index(["system", "metric"])
    known = photos["known"].to_numpy()
    for system in ("two_stage_photo", "two_stage_face"):
        p = merged.loc[(system, "mcnemar_p"), "value"]
        pair = [np.full(known.sum(), one not in again) for one in ("joint", system)]
        if {"joint", system} & {*again}:
            assert p == pytest.approx(mcnemar_exact(*pair), rel=1e-5)
        assert {"accuracy", "fps", "ap50"} <= {*merged.loc[system].index}


def test_nothing_of_a_tuning_run_is_published(config, apart, monkeypatch):
    shutil.rmtree(apart / "runs/figures")
    monkeypatch.setattr(comparison, "take_turns", None)
    tuning = dataclasses.replace(config, holdout=True)
    rows = comparison.run(tuning, ["joint"])
    assert {"accuracy", "joint_accuracy_50"} <= set(rows["metric"])
    assert not (apart / "runs/figures").exists()
    # Of photos that the true test does not hold.
    tested = configs.parts(tuning).test
    assert not set(tested.photos) & set(configs.parts(config).test.photos)


def test_people_must_be_known_from_training(config):
    with pytest.raises(ValueError, match="a split by identity tests on people whom no system"):
        comparison.run(dataclasses.replace(config, split="identity"))
    with pytest.raises(ValueError, match="unknown systems three_stage"):
        comparison.run(config, ["three_stage"])


@pytest.mark.parametrize("device", DEVICES)
def test_systems_run_where_nets_belong(config, apart, device):
    if device == "cpu" and torch.cuda.is_available():
        pytest.skip("nets go to the GPU where there is one")
    for name in SYSTEMS:
        system = comparison.system(config, name)
        net = system if isinstance(system, JointNet) else system.classifier
        assert net.device.type == device


WORKER = """
import json, os, sys
from pathlib import Path

from thesislib.engine import evaluate, predict
from thesislib.experiments import baseline_comparison as comparison
from thesislib.experiments.config import Config
from thesislib.models.joint import JointNet
from thesislib.profiles import Profile

rank, told = os.environ["RANK"], {"answered": 0, "named": 0, "timed": 0}
predict.CHUNK = evaluate.CHUNK = 1
of_arrays, at_boxes = JointNet.predict_arrays, JointNet.identify_boxes
turns = comparison.take_turns

def predict_arrays(net, photos, *rest):
    told["answered"] += len(photos)
    return of_arrays(net, photos, *rest)

def identify_boxes(net, photos, *rest):
    told["named"] += len(photos)
    return at_boxes(net, photos, *rest)

def take_turns(*arguments):
    told["timed"] += 1
    return turns(*arguments)

JointNet.predict_arrays, JointNet.identify_boxes = predict_arrays, identify_boxes
comparison.take_turns = take_turns
data, profile = Path(sys.argv[1]), Profile(**json.loads(sys.argv[2]))
rows = comparison.run(Config(data, profile, seed=3), ["joint"])
told["values"] = rows.set_index("metric")["value"].drop(["fps", "others"]).to_dict()
(Path(os.environ["THESIS_ROOT"]) / f"{rank}.json").write_text(json.dumps(told))
"""


def test_two_processes_test_together_and_one_times(config, root, tmp_path):
    for kind in ("nets", "dlib"):  # tests and times are to be done again
        shutil.copytree(root / "runs" / kind, tmp_path / "runs" / kind)
    (tmp_path / "worker.py").write_text(WORKER)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    words = [tmp_path / "worker.py", config.data, json.dumps(dataclasses.asdict(PROFILE))]
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "THESIS_ROOT": str(tmp_path),
        "OMP_NUM_THREADS": "1",
        "TQDM_DISABLE": "1",
    }
    done = subprocess.run(
        [sys.executable, *launch, *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    photos = len(configs.parts(config).test.photos)
    assert first["answered"] + second["answered"] == photos
    assert first["answered"] > 0 and second["answered"] > 0
    assert (first["timed"], second["timed"]) == (1, 0)
    assert first["values"] == second["values"]
    merged = tables.read_results(tmp_path / "runs/figures/tables/experiment1.csv")
    alone = comparison.evaluate(config, "joint").results.set_index("metric")["value"]
    together = merged.set_index("metric")["value"].drop(["fps", "others"])
    for metric, value in alone.items():
        assert together[metric] == pytest.approx(value, abs=1e-4)
