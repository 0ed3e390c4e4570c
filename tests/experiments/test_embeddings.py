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
from thesislib.baselines.references import Described, thumbnail
from thesislib.data.schema import DatasetError, read_dataset
from thesislib.engine import train
from thesislib.experiments import config as configs
from thesislib.experiments import embedding_measures, embeddings, group_tables, systems
from thesislib.experiments.arms import ARMS, arm_of, arms_of
from thesislib.experiments.config import Config
from thesislib.experiments.embeddings import Line, pairs_of, together
from thesislib.experiments.group_tables import (
    CURVES_TABLE,
    FACTORS_TABLE,
    MAP_TABLE,
    RESULTS_TABLE,
    SIMILARITIES_TABLE,
    embeddings_of,
)
from thesislib.experiments.groups import Group, one_per_scene, people
from thesislib.metrics.retrieval import of_queries, retrieval
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
        for module in (embedding_measures, embeddings):
            patch.setattr(module, "MIN_GENUINE_PAIRS", 1)
        by_dlib = {"dlib_aligned_nearest": lambda: Described(thumbnail, whole_photo=True)}
        patch.setattr(group_tables, "REFERENCES", group_tables.REFERENCES | by_dlib)
        yield root


@pytest.fixture(scope="module")
def config(root):
    """Everybody has four scenes, two of which are learned where the person is."""
    return Config(write_couples(root / "couples", photos=1, sessions=4), PROFILE, "identity")


@pytest.fixture(scope="module")
def others(root):
    """Two couples of another collection, in a folder whose name is a number."""
    return write_couples(root / "0042", ("w", "x", "y", "z"), photos=1)


@pytest.fixture(scope="module")
def main(config, others):
    """Tables of the main arm."""
    return embeddings.run_arm(config, others=[others], draws=5)


CONTROLS = {"two_stage", "two_stage_aligned", "untrained", "shuffled"}
REFERENCES = {"pixel_nn_photo", "pixel_nn_face", "hog_nearest", "dlib_aligned_nearest"}


def test_the_main_arm_has_groups_controls_references_and_a_map(main, config, root):
    numbers = main[RESULTS_TABLE]
    groups = {"seen", "unseen", "0042"} | CONTROLS
    others = {f"0042_{name}" for name in REFERENCES}
    assert set(numbers["people"]) == groups | REFERENCES | others
    assert set(main) == {
        RESULTS_TABLE, CURVES_TABLE, SIMILARITIES_TABLE, FACTORS_TABLE, MAP_TABLE,
    }  # fmt: skip
    assert set(main[FACTORS_TABLE]["people"]) == {"seen", "unseen"}
    assert set(main[SIMILARITIES_TABLE]["people"]) == groups
    begun = numbers.groupby("people")["start"].agg(set)
    assert begun["hog_nearest"] == begun["0042_hog_nearest"] == {"none"}
    assert begun["unseen"] == begun["two_stage"] == {"scratch"}
    trust = numbers[numbers["metric"] == "trustworthiness_umap"]
    assert set(trust["people"]) == {"seen", "unseen"} and trust["low"].isna().all()
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


def test_one_face_of_every_scene_is_measured_on_the_embeddings_that_are_said(main, config):
    arm = arm_of(config, MAIN_ARM)
    unseen = Group.of(people(config).unseen)
    chosen = one_per_scene(unseen)
    names = unseen.identities[chosen]
    value = main[RESULTS_TABLE].set_index(["people", "metric"])["value"]
    for name, system in (("unseen", "joint"), ("untrained", "untrained"), ("hog_nearest",) * 2):
        vectors = embeddings_of(arm, unseen, system)[chosen]
        there = ~np.isnan(vectors).any(axis=1)
        found = retrieval(vectors[there], names[there]).map_at_r
        assert value[name, "map_at_r"] == pytest.approx(found)
    vectors = embeddings_of(arm, unseen)
    chosen = one_per_scene(unseen, ~np.isnan(vectors).any(axis=1))
    mixed = shuffled(unseen.identities[chosen].tolist(), seed=config.seed)
    found = retrieval(vectors[chosen], np.array(mixed, object)).map_at_r
    assert value["shuffled", "map_at_r"] == pytest.approx(found)
    number = main[RESULTS_TABLE].set_index(["people", "metric"])["n"]
    assert number["shuffled", "map_at_r"] == number["unseen", "map_at_r"] == chosen.sum()
    assert len(unseen.identities) > len(unseen.dataset.photos)  # several faces per photo
    learned, before = (embeddings_of(arm, unseen, name) for name in ("joint", "untrained"))
    assert not np.allclose(learned, before, equal_nan=True)
    with pytest.raises(ValueError, match="system 'dlib' is unknown"):
        embeddings_of(arm, unseen, "dlib")


def test_where_no_face_has_an_embedding_nothing_is_measured(main, config):
    arm = arm_of(config, MAIN_ARM)
    group = Group.of(people(config).unseen)
    part = group_tables.part_of(arm, "unseen", group)
    empty = dataclasses.replace(part, embeddings=np.full_like(part.embeddings, np.nan))
    faces = group.faces.assign(factor_yaw=0.0)
    assert group_tables.measure_part(empty, 0, 5, annotated=faces) == {}
    few = np.flatnonzero(part.embedded)[:5]
    part.embeddings[np.setdiff1d(np.arange(len(part.embeddings)), few)] = np.nan
    seeds = dataclasses.replace(arm, config=dataclasses.replace(config, seed=9))
    assert group_tables.mapped(seeds, part, empty) == {}


def test_another_arm_is_measured_on_people_seen_and_unseen_alone(main, config):
    found = embeddings.run_arm(config, "roi", others=["nowhere"], draws=5)
    assert set(found) == {RESULTS_TABLE}
    assert set(found[RESULTS_TABLE]["people"]) == {"seen", "unseen"}


def test_a_learning_curve_is_measured_on_other_collections_too(main, config, others):
    found = embeddings.run_arm(config, "people_5", others=[others], draws=5)
    assert set(found[RESULTS_TABLE]["people"]) == {"unseen", "0042"}


# --- several seeds ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seeds_and_pairs(main, config, others):
    runs = [config, dataclasses.replace(config, seed=1)]
    return runs, together(runs, [MAIN_ARM, "roi"], [others], draws=20)


def test_seeds_together_are_the_means_of_each(seeds_and_pairs, main, config):
    runs, (table, _) = seeds_and_pairs
    rows = table[table["metric"] == "map_at_r"].set_index(["people", "arm"])
    first = main[RESULTS_TABLE].set_index(["people", "metric"])["value"]
    for name in ("unseen", "hog_nearest", "0042"):
        row = rows.loc[(name, MAIN_ARM)]
        by_seed = [float(value) for value in row["seed_values"].split()]
        assert row["value"] == pytest.approx(np.mean(by_seed), abs=1e-3)
        assert by_seed[0] == pytest.approx(first[name, "map_at_r"], abs=1e-3)
        assert row["seeds"] == "0 1"
    faces = {one.seed: set(people(one).unseen.identities) for one in runs}
    assert rows.loc[("unseen", "roi"), "persons"] == len(faces[0] | faces[1])
    each = [
        one_per_scene(Group.of(people(one).unseen)).sum() / len(faces[one.seed]) for one in runs
    ]
    assert rows.loc[("unseen", "roi"), "scenes"] == pytest.approx(np.mean(each), rel=0.1)
    assert (table["command"].str.contains("--seeds 0 1 --arms normalised roi")).all()


def test_differences_are_of_the_same_queries(seeds_and_pairs, config):
    runs, (_, pairs) = seeds_and_pairs
    row = pairs.set_index(["people", "arm", "against_people", "against", "metric"]).loc[
        ("unseen", "roi", "unseen", MAIN_ARM, "map_at_r")
    ]
    expected = []
    for one in runs:
        group = Group.of(people(one).unseen)
        own, other = (embeddings_of(arm_of(one, name), group) for name in ("roi", MAIN_ARM))
        chosen = one_per_scene(group, ~np.isnan(own).any(axis=1) & ~np.isnan(other).any(axis=1))
        names = group.identities[chosen].tolist()
        a, b = (of_queries(vectors[chosen], names).map_at_r for vectors in (own, other))
        expected += (a - b)[~np.isnan(a)].tolist()
    assert row["value"] == pytest.approx(np.mean(expected)) and row["n"] == len(expected)
    assert not row["holds"]  # of two seeds
    assert row["start"] == row["against_start"] == "scratch"
    of_reference = pairs[pairs["against_people"] == "hog_nearest"]
    assert set(of_reference["against_start"]) == {"none"}


def test_rows_of_fewer_seeds_or_arms_replace_no_others(seeds_and_pairs, config, root):
    runs, _ = seeds_and_pairs
    files = [root / "tables" / name for name in ("experiment3_seeds.csv", "experiment3_pairs.csv")]
    before = [file.read_bytes() for file in files]
    for fewer, arms, why in (
        (runs[:1], [MAIN_ARM, "roi"], "has more seeds"),
        (runs, [MAIN_ARM], r"has further arms \(roi\)"),
    ):
        with pytest.warns(UserWarning, match=why):
            together(fewer, arms, draws=20)
        assert [file.read_bytes() for file in files] == before
    names = read_table(files[0])["people"]
    assert "0042" in set(names)  # a name, not 42


def test_what_is_compared_is_of_the_same_faces():
    lines = [Line("unseen", MAIN_ARM), Line("unseen", "roi"), Line("seen", "roi")]
    lines += [Line("hog_nearest", MAIN_ARM), Line("untrained", MAIN_ARM)]
    lines += [Line("lfw", MAIN_ARM), Line("lfw", STARTED_ARM), Line("lfw_hog_nearest", MAIN_ARM)]
    lines += [Line("unseen", STARTED_ARM), Line("two_stage", STARTED_ARM), Line("shuffled", "roi")]
    lines += [Line("dlib_aligned_nearest", MAIN_ARM), Line("seen", MAIN_ARM)]
    found = pairs_of(lines)
    assert len(found) == len(set(found))
    assert set(found) == {
        (Line("unseen", "roi"), Line("unseen", MAIN_ARM)),
        (Line("seen", "roi"), Line("seen", MAIN_ARM)),
        (Line("unseen", STARTED_ARM), Line("unseen", MAIN_ARM)),
        (Line("unseen", MAIN_ARM), Line("hog_nearest", MAIN_ARM)),
        (Line("unseen", MAIN_ARM), Line("untrained", MAIN_ARM)),
        (Line("unseen", MAIN_ARM), Line("dlib_aligned_nearest", MAIN_ARM)),
        (Line("unseen", STARTED_ARM), Line("dlib_aligned_nearest", MAIN_ARM)),
        (Line("unseen", STARTED_ARM), Line("two_stage", STARTED_ARM)),
        (Line("lfw", STARTED_ARM), Line("lfw", MAIN_ARM)),
        (Line("lfw", MAIN_ARM), Line("lfw_hog_nearest", MAIN_ARM)),
    }


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


def test_another_collection_must_have_a_name_of_its_own(config, others, tmp_path):
    for name in ("unseen", "two_stage", "hog_nearest"):
        with pytest.raises(DatasetError, match=f"is called '{name}' in the tables; rename"):
            embeddings.run_arm(config, others=[write_couples(tmp_path / name, ("v", "w"))], draws=5)
    twin = write_couples(tmp_path / others.name, ("v", "w"))
    with pytest.raises(DatasetError, match=f"is called '{others.name}' in the tables; rename"):
        embeddings.run_arm(config, others=[others, twin], draws=5)


# --- arms and configs -------------------------------------------------------------------------


def test_arms_change_what_they_say_and_have_runs_of_their_own(config):
    quick = dataclasses.replace(config, profile=get_profile("quick"))
    runs = set()
    for arm, changes in ARMS.items():
        own = arm_of(quick, arm).config
        assert own.profile == dataclasses.replace(get_profile("quick"), **changes)
        runs.add(configs.key(own))
    assert len(runs) == len(ARMS)
    for unknown in ("sphere", "people_0", "photos_2x"):
        with pytest.raises(ValueError, match=f"arm '{unknown}' is unknown"):
            arm_of(config, unknown)
    assert arms_of(get_profile("laptop")) == [*ARMS, STARTED_ARM]
    assert set(arms_of(PROFILE)) < {*ARMS, STARTED_ARM}


def test_a_learning_curve_has_fewer_people_or_photos_and_as_many_steps(config):
    config = dataclasses.replace(config, profile=dataclasses.replace(PROFILE, epochs=12))
    whole = arm_of(config, MAIN_ARM).train
    smaller, larger = (arm_of(config, f"people_{count}") for count in (4, 8))
    assert len(smaller.train.identities) == 4 and len(larger.train.identities) == 8
    assert set(smaller.train.identities) < set(larger.train.identities) < set(whole.identities)
    for arm in (smaller, larger):
        photos, batch = len(arm.train.photos), config.profile.batch
        an_epoch = photos // min(batch, photos)
        wanted = 12 * (len(whole.photos) // batch)
        assert abs(arm.config.profile.epochs * an_epoch - wanted) <= an_epoch / 2
    few = arm_of(config, "photos_1").train
    assert few.identities == whole.identities and len(few.photos) < len(whole.photos)
    alone = few.table[few.table["identity"] != ""].groupby("identity")["photo"].nunique()
    assert alone.max() <= 2  # one drawn, and one drawn for the other of the couple
    with pytest.raises(ValueError, match="arm people_99: there are 12 people"):
        arm_of(config, "people_99")


@pytest.mark.parametrize(
    "arm", ["normalised", "roi", "arcface_16", "dim64", "people_8", STARTED_ARM]
)
def test_the_recorded_command_asks_for_the_same_again(config, others, arm, monkeypatch, capsys):
    """With BATCH and EPOCHS set, too; an arm's own changes are told by its name."""
    smoke = dataclasses.replace(PROFILES["smoke"], batch=7, epochs=9)
    asked = dataclasses.replace(config, profile=smoke, seed=3, holdout=True)
    words = shlex.split(embeddings._columns([asked], [arm], [others], draws=50)["command"])
    assert words[:3] == ["python", "-m", "thesislib"]
    monkeypatch.setattr(paths, "DATA", config.data.parent)
    given = []

    def run(*values):
        given.extend(values)
        raise ValueError("far enough")

    monkeypatch.setattr(embeddings, "run", run)
    assert command_line(words[3:]) == 1 and capsys.readouterr().err == "far enough\n"
    again, arms, folders, run_seeds, draws = given
    assert again == dataclasses.replace(asked, data=again.data)
    assert again.data.samefile(asked.data)
    assert (arms, [str(folder) for folder in folders], draws) == ((arm,), ["0042"], 50)
    assert run_seeds == (3,)


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
    monkeypatch.setattr(embeddings, "MIN_GENUINE_PAIRS", 30)
    assert "kept unseen have 4 pairs of photos of two scenes, and 30 are needed" in told(couples)
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
