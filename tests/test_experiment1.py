"""Experiment 1 from end to end on a handful of synthetic people, and what makes it run again."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from thesislib import paths, tables
from thesislib.benchmarks import training
from thesislib.experiments import baseline_comparison
from thesislib.experiments.baseline_comparison import SYSTEMS, Experiment
from thesislib.models.convolutions import PatchConv2d
from thesislib.profiles import get_profile
from thesislib.synthetic import sets
from thesislib.synthetic.sets import SETS


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def experiment(root):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "RUNS", root / "runs")
        patch.setattr(paths, "TABLES", root / "tables")
        data = root / "synthetic-tiny"
        sets.make(data, SETS["smoke"], workers=1, progress=False)
        made = Experiment(data, "photo", get_profile("smoke"), progress=False)
        made.run()
        yield made


def again(experiment, **changes):
    return dataclasses.replace(experiment, **changes)


def test_every_system_has_every_metric(experiment, root):
    table = tables.read_results(root / "tables" / "experiment1.csv")
    for system in SYSTEMS:
        found = set(table[table["system"] == system]["metric"])
        assert found >= {"accuracy", "joint_accuracy_50", "ap50", "fps", "oracle_box_accuracy"}
        assert ("mcnemar_p" in found) == (system != "joint")


def test_tables_recompute_to_the_results(experiment, root):
    table = tables.read_results(root / "tables" / "experiment1.csv")
    photos = tables.read_table(root / "tables" / baseline_comparison.PHOTOS_TABLE)
    faces = tables.read_table(root / "tables" / baseline_comparison.FACES_TABLE)
    for system in SYSTEMS:
        value = table[table["system"] == system].set_index("metric")["value"]
        mine = photos[photos["system"] == system]
        assert value["accuracy"] == pytest.approx(
            (mine["identity"] == mine["predicted_identity"]).mean(), abs=1e-5
        )
        mine = faces[faces["system"] == system]
        right = (mine["identity"] == mine["predicted_identity"]) & (mine["iou_calibrated"] >= 0.5)
        assert value["joint_accuracy_50"] == pytest.approx(right.mean(), abs=1e-5)
        bound = (mine["identity"] == mine["oracle_identity"]).mean()
        assert value["oracle_box_accuracy"] == pytest.approx(bound, abs=1e-5)


def test_asked_again_nothing_is_trained(experiment, monkeypatch):
    def never(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(experiment1, "train", never)
    first, _ = experiment.trained("joint")
    second, _ = again(experiment).trained("joint")
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"profile": dataclasses.replace(get_profile("smoke"), epochs=3)},
        {"split_kind": "session"},
        {"holdout": True},
    ],
    ids=str,
)
def test_what_a_net_depends_on_has_a_run_of_its_own(experiment, changes):
    assert again(experiment, **changes).run_folder("joint") != experiment.run_folder("joint")


def test_workers_do_not_make_another_run(experiment):
    profile = dataclasses.replace(experiment.profile, workers=3)
    assert again(experiment, profile=profile).run_folder("joint") == experiment.run_folder("joint")


def test_a_holdout_never_sees_a_test_photo(experiment):
    test = {photo.name for photo in experiment.test_photos}
    tuning = again(experiment, holdout=True)
    seen = {photo.name for photo in [*tuning.train_photos, *tuning.test_photos]}
    assert seen
    assert not seen & test


def test_systems_start_from_the_same_backbone(experiment):
    joint = experiment.new_net("joint").backbone.state_dict()
    other = experiment.new_net("two_stage_face").backbone.state_dict()
    assert all(torch.equal(joint[name], other[name]) for name in joint)


def test_starting_from_a_checkpoint_is_another_run_and_takes_its_backbone(experiment, monkeypatch):
    start = experiment.run_folder("joint") / baseline_comparison.MODEL
    begun = again(experiment, start=start)
    assert begun.run_folder("joint") != experiment.run_folder("joint")
    seen = {}

    def looks(net, *_, **__):
        seen["weight"] = net.backbone.conv1.weight.clone()
        return []

    monkeypatch.setattr(experiment1, "train", looks)
    begun.trained("joint")
    net, _ = experiment.trained("joint")
    assert torch.equal(seen["weight"], net.backbone.conv1.weight)


def test_anchors_are_at_the_networks_scale(experiment):
    sizes = np.sqrt(experiment.anchors.prod(axis=1)) / experiment.profile.input_px
    assert ((sizes > 0.2) & (sizes < 0.8)).all()


def test_timing_is_turn_by_turn(experiment, root):
    stages = tables.read_table(root / "tables" / baseline_comparison.STAGES_TABLE)
    turns = stages.groupby("system")["turn"].unique()
    assert all(len(turn) >= 30 for turn in turns)
    assert len({tuple(turn) for turn in turns}) == 1


def test_comments_and_docstrings_do_not_train_again(tmp_path, monkeypatch):
    source = '"""Doc."""\ndef f(x):\n    """Doc."""\n    return x + 1\n'
    (tmp_path / "a.py").write_text(source)
    (tmp_path / "b.py").write_text('"""Other."""\n\n\ndef f(x):  # why\n    return x + 1\n')
    (tmp_path / "c.py").write_text(source.replace("+ 1", "+ 2"))
    monkeypatch.setattr(experiment1, "__file__", str(tmp_path / "experiment1.py"))
    a, b, c = (baseline_comparison.module_hash(name) for name in ("a.py", "b.py", "c.py"))
    assert a == b
    assert a != c


def test_an_unknown_profile_is_named(monkeypatch):
    monkeypatch.setenv("PROFILE", "gigantic")
    with pytest.raises(ValueError, match="PROFILE=gigantic is unknown; choose one of quick"):
        baseline_comparison.from_environment()


def test_the_environment_says_which_experiment(monkeypatch, tmp_path):
    for name in ("PROFILE", "DATA", "SPLIT", "SEED", "EPOCHS", "BATCH"):
        monkeypatch.delenv(name, raising=False)
    plain = baseline_comparison.from_environment()
    assert plain.profile == get_profile("quick")
    assert (plain.split_kind, plain.seed) == ("photo", 0)
    monkeypatch.chdir(tmp_path)  # a relative DATA is the project's, wherever a notebook runs
    values = {"DATA": "data/mine", "SPLIT": "session", "SEED": "3", "EPOCHS": "7", "BATCH": "9"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    asked = baseline_comparison.from_environment()
    assert asked.data == baseline_comparison.paths.ROOT / "data/mine"
    assert (asked.split_kind, asked.seed) == ("session", 3)
    assert (asked.profile.epochs, asked.profile.batch) == (7, 9)


@pytest.mark.parametrize("name", ["EPOCHS", "BATCH"])
@pytest.mark.parametrize("value", ["ten", "0", "-1", "1.5"])
def test_a_setting_that_is_no_count_is_named(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"{name}={value} is no whole number above 0"):
        baseline_comparison.from_environment()


def test_data_pointing_nowhere_is_named(tmp_path):
    nowhere = Experiment(tmp_path / "nowhere", "photo", get_profile("smoke"))
    with pytest.raises(ValueError, match="nowhere: no such folder; DATA must name"):
        nowhere.dataset.photos  # noqa: B018


def test_command_line_says_the_command_that_gives_the_row(experiment):
    words = experiment.command()
    assert "--data synthetic-tiny --split photo --profile smoke --seed 0" in words
    longer = again(experiment, profile=dataclasses.replace(experiment.profile, epochs=9))
    assert "--epochs 9" in longer.command()


def test_merging_keeps_the_tables_of_other_runs(tmp_path):
    keys = {"split": "photo", "system": "joint", "profile": "quick", "seed": 0}
    path = tmp_path / "t.csv"
    tables.merge_table(path, pd.DataFrame([{"dataset": "a", **keys, "x": 1.5, "photo": "NA"}]))
    tables.merge_table(path, pd.DataFrame([{"dataset": "b", **keys, "x": 2.5, "photo": "p"}]))
    tables.merge_table(path, pd.DataFrame([{"dataset": "a", **keys, "x": 3.5, "photo": "q"}]))
    table = tables.read_table(path)
    assert table[["dataset", "x", "photo"]].to_numpy().tolist() == [
        ["a", 3.5, "q"],
        ["b", 2.5, "p"],
    ]


def test_training_is_timed_against_the_same_net_as_torchvision_convolves_it(
    experiment, monkeypatch
):
    patched = []  # of each small map multiplied, the layout of its weights
    usual = PatchConv2d.forward

    def noted(conv, x):
        patched.append(conv.weight.is_contiguous(memory_format=torch.channels_last))
        return usual(conv, x)

    monkeypatch.setattr(PatchConv2d, "forward", noted)
    table = training.compare(experiment, rounds=2, steps=1)
    assert sorted(table["loop"]) == ["naive", "naive", "ours", "ours"]
    assert sorted(table["turn"]) == [0, 0, 1, 1]
    assert (table["photos_per_second"] > 0).all()
    assert len(patched) == 3 * 4 and all(patched)  # three turns of ours alone, four layers
