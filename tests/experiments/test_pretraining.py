"""The comparison of two starts, at its smallest."""

import dataclasses
import functools

import pytest
import torch
from conftest import face

from thesislib import paths, tables
from thesislib.data.schema import DatasetError
from thesislib.engine import train
from thesislib.engine.checkpoint import load_net
from thesislib.experiments import baseline_comparison, pretraining, systems
from thesislib.experiments import config as configs
from thesislib.experiments.config import Config
from thesislib.metrics.statistics import mcnemar_exact
from thesislib.profiles import Profile
from thesislib.storage import bytes_hash
from thesislib.synthetic import sets
from thesislib.synthetic.sets import SyntheticSet

PROFILE = Profile(
    "laptop",
    backbone="resnet18",
    input_px=32,
    pooling=1,
    anchors=1,
    normalised=True,
    embedding_dim=8,
    epochs=2,
    batch=4,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A project's folder of its own, and a set of few people in the place of thousands."""
    folder = tmp_path_factory.mktemp("root")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "RUNS", folder / "runs")
        patch.setattr(paths, "DATA", folder / "data")
        patch.setattr(paths, "TABLES", folder / "tables")
        patch.setitem(sets.SETS, "few", SyntheticSet(2, 8, sessions=2, size=64))
        patch.setattr(configs.sets, "make", functools.partial(sets.make, workers=1))
        patch.setenv("TQDM_DISABLE", "1")
        yield folder


@pytest.fixture(scope="module")
def start(root):
    return pretraining.pretrained("few", dataclasses.replace(PROFILE, epochs=1))


@pytest.fixture
def config(root, write_dataset):
    rows = [
        face(f"photos/{who}{at}.png", who, (8, 6, 28, 26))
        for who in ("anna", "boris")
        for at in range(6)
    ]
    return Config(write_dataset(rows), PROFILE, seed=3)


def test_synthetic_people_are_made_and_learned_once(start, monkeypatch):
    monkeypatch.setattr(train, "fit", None)
    assert pretraining.pretrained("few", dataclasses.replace(PROFILE, epochs=1)) == start
    net = load_net(start)
    assert net.identities == sorted(configs.read(paths.synthetic("few")).identities)
    assert len(systems.history(net)) == 1


def test_other_people_or_settings_are_another_start(start):
    assert pretraining.pretrained("few", PROFILE) != start


def test_both_starts_are_tested_on_the_same_photos_after_as_many_steps(config, start):
    table = pretraining.compare(config, start)
    value = table.set_index(["arm", "metric"])["value"]
    photos = []
    for arm, begin in zip(pretraining.ARMS, (None, start), strict=True):
        one = dataclasses.replace(config, start=begin)
        tested = baseline_comparison.evaluate(one, "joint")
        photos.append(tested.photos)
        expected = tested.results.set_index("metric")["value"]
        for metric in ("accuracy", "joint_accuracy_50", "joint_accuracy_75", "mean_iou"):
            assert value[arm, metric] == expected[metric]
        told = systems.trained_joint(one).provenance
        assert told["start"] == (begin and bytes_hash(begin / "net.safetensors"))
    assert photos[0]["photo"].tolist() == photos[1]["photo"].tolist()
    p = mcnemar_exact(*(table["correct"] for table in photos))
    assert value["synthetic people", "mcnemar_p"] == p
    assert ("random weights", "mcnemar_p") not in value
    train_photos = len(configs.parts(config).train.photos)
    assert set(table["steps"]) == {train_photos // 4 * 2}
    assert table.groupby("arm")["start"].unique().map(list).to_dict() == {
        "random weights": ["scratch"],
        "synthetic people": [start.name],
    }
    words = "--data people --split photo --profile laptop"
    assert set(table["command"]) == {configs.command(config, "pretraining")}
    assert table["command"].iloc[0].startswith(f"python -m thesislib pretraining {words} ")
    assert set(tables.RUN_COLUMNS) <= set(table)


def test_the_second_arm_begins_with_what_was_learned(config, start, monkeypatch):
    begun = []

    def fit(net, *_, **__):
        begun.append(net.backbone.conv1.weight.clone())
        return [{"epoch": 1}]

    monkeypatch.setattr(train, "fit", fit)
    pretraining.compare(dataclasses.replace(config, seed=4), start)
    learned = load_net(start).backbone.conv1.weight.cpu()
    assert [torch.equal(weight, learned) for weight in begun] == [False, True]


def test_another_run_has_rows_of_its_own_and_the_same_run_has_not(config, start):
    pretraining.compare(config, start)
    stored = tables.read_table(paths.TABLES / pretraining.TABLE)
    mine = stored[stored["run"] == pretraining.compare(config, start)["run"].iloc[0]]
    assert len(mine) == 9
    other = pretraining.pretrained("few", PROFILE)
    assert pretraining.compare(config, other)["run"].iloc[0] != mine["run"].iloc[0]
    again = tables.read_table(paths.TABLES / pretraining.TABLE)
    assert len(again) == len(stored) + 9


def test_a_config_with_a_start_is_refused(config, start):
    with pytest.raises(ValueError, match="begin from random weights and from a pre-trained net"):
        pretraining.compare(dataclasses.replace(config, start=start), start)


def test_a_dataset_of_nobody_known_is_refused_before_the_pre_training(write_dataset, monkeypatch):
    monkeypatch.setattr(pretraining, "pretrained", lambda: pytest.fail("trained"))
    nobody = write_dataset([face(f"{at}.png", "") for at in range(3)], "nobody")
    with pytest.raises(DatasetError, match="nobody in it is named"):
        pretraining.compare(Config(nobody, PROFILE))
