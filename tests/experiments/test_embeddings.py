"""Experiment 3 from end to end, on couples whose names a table may misread."""

import dataclasses
import shlex

import numpy as np
import pandas as pd
import pytest
from conftest import face
from couples import detected, write_couples

from thesislib import paths, tables
from thesislib.__main__ import main as command_line
from thesislib.data.schema import DatasetError, read_dataset
from thesislib.engine import train
from thesislib.experiments import config as configs
from thesislib.experiments import embeddings, group_tables, systems
from thesislib.experiments.config import Config
from thesislib.experiments.group_tables import (
    CURVES_TABLE,
    FACTORS_TABLE,
    MAP_TABLE,
    RESULTS_TABLE,
    SIMILARITIES_TABLE,
    embeddings_of,
)
from thesislib.experiments.groups import Group, people
from thesislib.metrics.retrieval import retrieval
from thesislib.metrics.statistics import shuffled
from thesislib.profiles import PROFILES, Profile, get_profile
from thesislib.synthetic import sets
from thesislib.tables import MAIN_ARM, STARTED_ARM, read_table

PROFILE = Profile(
    "tiny",
    backbone="resnet18",
    input_px=48,
    pooling=1,
    anchors=1,
    normalised=True,
    embedding_dim=8,
    epochs=1,
    batch=16,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Where runs go; dlib is not asked, and maps are drawn once."""
    root = tmp_path_factory.mktemp("root")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "RUNS", root / "runs")
        patch.setattr(paths, "TABLES", root / "tables")
        patch.setattr(group_tables, "MAP_SEEDS", (0,))
        patch.setenv("TQDM_DISABLE", "1")
        patch.setattr(systems, "detections_table", detected)
        yield root


@pytest.fixture(scope="module")
def config(root, couples):
    return Config(couples, PROFILE, "identity")


@pytest.fixture(scope="module")
def others(root):
    """Two couples of another collection, in a folder whose name is a number."""
    return write_couples(root / "0042", ("w", "x", "y", "z"), photos=1)


@pytest.fixture(scope="module")
def main(config, others):
    """Tables of the main arm."""
    return embeddings.run_arm(config, others=[others], draws=5)


def test_the_main_arm_has_groups_controls_and_a_map(main, config, root):
    numbers = main[RESULTS_TABLE]
    groups = {"seen", "unseen", "unseen_matched", "unseen_apart", "0042"}
    groups |= {"untrained", "two_stage", "shuffled", "untrained_apart", "two_stage_apart"}
    assert set(numbers["people"]) == {*groups, "seen and unseen"}
    assert set(main) == {
        RESULTS_TABLE, CURVES_TABLE, SIMILARITIES_TABLE, FACTORS_TABLE, MAP_TABLE,
    }  # fmt: skip
    assert set(main[FACTORS_TABLE]["people"]) == {"seen", "unseen"}
    drawn = {name for name in groups if not name.endswith("_apart")} | {"unseen_apart"}
    assert set(main[SIMILARITIES_TABLE]["people"]) == drawn
    points = main[MAP_TABLE]
    parts = people(config)
    for name, part in (("seen", parts.seen), ("unseen", parts.unseen)):
        own = points[(points["people"] == name) & (points["method"] == "umap")]
        assert sorted(own["identity"]) == sorted(Group.of(part).identities)
    for name, table in main.items():
        stored = read_table(root / "tables" / name)
        assert len(stored) == len(table)
        assert (stored[list(tables.RUN_COLUMNS)] != "").all(axis=None)
        assert set(stored["dataset"]) == {"couples"} and set(stored["arm"]) == {MAIN_ARM}
        assert "split" not in stored


def test_groups_are_measured_on_the_embeddings_they_say(main, config):
    arm = embeddings.with_arm(config, MAIN_ARM)
    unseen = Group.of(people(config).unseen)
    value = main[RESULTS_TABLE].set_index(["people", "metric"])["value"]
    for name, system in (("unseen", "joint"), ("untrained", "untrained")):
        vectors = embeddings_of(arm, unseen, system)
        there = ~np.isnan(vectors).any(axis=1)
        found = retrieval(vectors[there], unseen.identities[there]).map_at_r
        assert value[name, "map_at_r"] == pytest.approx(found)
    names = shuffled(unseen.identities.tolist(), seed=config.seed)
    vectors = embeddings_of(arm, unseen)
    there = ~np.isnan(vectors).any(axis=1)
    assert value["shuffled", "map_at_r"] == pytest.approx(
        retrieval(vectors[there], names[there]).map_at_r
    )
    assert len(unseen.identities) > len(unseen.dataset.photos)  # several faces per photo
    assert not np.allclose(embeddings_of(arm, unseen, "untrained"), vectors, equal_nan=True)
    with pytest.raises(ValueError, match="system 'dlib' is unknown"):
        embeddings_of(arm, unseen, "dlib")


def test_another_arm_is_compared_with_the_main_one(main, config):
    found = embeddings.run_arm(config, "roi", others=["nowhere"], draws=5)
    assert set(found) == {RESULTS_TABLE}
    rows = found[RESULTS_TABLE].set_index(["people", "metric"])["value"]
    before = main[RESULTS_TABLE].set_index(["people", "metric"])["value"]
    for group in ("unseen", "unseen_apart"):
        gain = rows[group, "map_at_r"] - before[group, "map_at_r"]
        assert rows[group, "map_at_r_gain"] == pytest.approx(gain, abs=1e-5)
    assert not any("gain" in metric for _, metric in before.index)


def test_asked_again_nothing_is_trained_or_measured(main, config, others, monkeypatch):
    def never(*_, **__):
        raise AssertionError("done again")

    monkeypatch.setattr(group_tables, "measure", never)
    monkeypatch.setattr(group_tables, "embed", never)
    monkeypatch.setattr(group_tables, "maps", never)
    monkeypatch.setattr(train, "fit", never)
    again = embeddings.run_arm(config, others=[others], draws=5)
    for name, table in main.items():
        pd.testing.assert_frame_equal(table, again[name])
    with pytest.raises(AssertionError, match="done again"):
        embeddings.run_arm(config, others=[others], draws=6)
    with pytest.raises(AssertionError, match="done again"):
        embeddings.run_arm(dataclasses.replace(config, seed=1), draws=5)


def test_of_a_tuning_run_nothing_is_written(config, root, monkeypatch):
    monkeypatch.setattr(paths, "TABLES", root / "none")
    found = embeddings.run_arm(dataclasses.replace(config, holdout=True), "linear", draws=2)
    assert len(found[RESULTS_TABLE]) and not (root / "none").exists()
    assert (found[RESULTS_TABLE]["command"].str.endswith("--holdout")).all()


def test_people_of_another_collection_must_be_new(config):
    with pytest.raises(DatasetError, match=r"is in .* too; these people must be new"):
        embeddings.run_arm(config, others=[config.data], draws=5)


# --- arms and configs -------------------------------------------------------------------------


def test_arms_change_what_they_say_and_have_runs_of_their_own(config):
    quick = dataclasses.replace(config, profile=get_profile("quick"))
    runs = set()
    for arm, changes in embeddings.ARMS.items():
        own = embeddings.with_arm(quick, arm)
        assert own.profile == dataclasses.replace(get_profile("quick"), **changes)
        runs.add(configs.key(own))
    assert len(runs) == len(embeddings.ARMS)
    with pytest.raises(ValueError, match="arm 'sphere' is unknown"):
        embeddings.with_arm(config, "sphere")
    assert embeddings.arms_of(get_profile("laptop")) == [*embeddings.ARMS, STARTED_ARM]
    assert set(embeddings.arms_of(PROFILE)) < {*embeddings.ARMS, STARTED_ARM}


@pytest.mark.parametrize("arm", ["normalised", "roi", "arcface_16", "dim64", STARTED_ARM])
def test_the_recorded_command_asks_for_the_same_again(config, others, arm, monkeypatch, capsys):
    """With BATCH and EPOCHS set, too; an arm's own changes are told by its name."""
    smoke = dataclasses.replace(PROFILES["smoke"], batch=7, epochs=9)
    asked = dataclasses.replace(config, profile=smoke, seed=3, holdout=True)
    words = shlex.split(embeddings._columns(asked, arm, [others], draws=50)["command"])
    assert words[:3] == ["python", "-m", "thesislib"]
    monkeypatch.setattr(paths, "DATA", config.data.parent)
    given = []

    def run(*values):
        given.extend(values)
        raise ValueError("far enough")

    monkeypatch.setattr(embeddings, "run", run)
    assert command_line(words[3:]) == 1 and capsys.readouterr().err == "far enough\n"
    again, arms, folders, draws = given
    assert again == dataclasses.replace(asked, data=again.data)
    assert again.data.samefile(asked.data)
    assert (arms, [str(folder) for folder in folders], draws) == ((arm,), ["0042"], 50)


def test_a_dataset_of_few_people_gives_way_to_synthetic_ones(root, write_dataset, monkeypatch):
    made = []
    monkeypatch.setattr(paths, "DATA", root / "data")
    monkeypatch.setattr(sets, "make", lambda folder, spec, **_: made.append((folder, spec)))
    monkeypatch.setenv("PROFILE", "smoke")
    for name in ("SPLIT", "SEED", "EPOCHS", "BATCH"):
        monkeypatch.delenv(name, raising=False)
    rows = [face(f"{who}{at}.png", who) for who in ("anna", "boris") for at in range(3)]
    few = write_dataset(rows)
    monkeypatch.setenv("DATA", str(few))
    config = embeddings.from_environment()
    assert made == [(root / "data/synthetic-smoke_many", sets.SETS["smoke_many"])]
    assert (config.data, config.split) == (made[0][0], "identity")
    monkeypatch.setattr(embeddings, "MIN_PEOPLE", 2)
    config = embeddings.from_environment()
    assert read_dataset(config.data).identities == ["anna", "boris"] and len(made) == 1


def test_why_other_people_are_asked_is_a_sentence(root, couples, party, write_dataset, monkeypatch):
    def told(folder):
        return embeddings.why_others(Config(folder, get_profile("smoke")))

    monkeypatch.setattr(paths, "DATA", root / "data")
    assert told(paths.synthetic("smoke")) == ""  # the default is not asked, nor read
    assert "16 people are named in it, and 24 are needed" in told(couples)
    monkeypatch.setattr(embeddings, "MIN_PEOPLE", 3)
    assert told(couples) == ""
    said = told(party)  # everybody shares a photo with everybody
    assert said.startswith("party is left out here, and synthetic people take its place: ")
    assert "groups of people who share photos" in said
    crowd = [
        face(f"crowd{at}.png", f"p{who}", (5 * who, 4, 5 * who + 4, 9))
        for at in range(2)
        for who in range(9)
    ]
    alone = [face(f"alone{at}.png", "anna") for at in range(2)]
    assert "1 of 10 people can be kept unseen" in told(write_dataset(crowd + alone, "crowd"))
