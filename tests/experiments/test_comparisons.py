"""Several seeds put together: numbers over people, differences that may be claimed."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from thesislib import paths, tables
from thesislib.engine.evaluate import measures
from thesislib.experiments import baseline_comparison as experiment1
from thesislib.experiments import comparisons
from thesislib.experiments.comparisons import Arm, OfSeeds, differences, over_seeds, pairs_of
from thesislib.experiments.config import Config
from thesislib.metrics.statistics import holm, sign_flip_test
from thesislib.profiles import Profile

PEOPLE = [f"p{at}" for at in range(30)]


def answered(seed, skill, boxes=0.8):
    """What a system gave: two photos of each person, right with a probability."""
    rng = np.random.default_rng([seed, round(1000 * skill)])
    names = [f"{person}-{at}.png" for person in PEOPLE for at in range(2)]
    identity = np.array(PEOPLE, object).repeat(2)
    right = rng.uniform(size=60) < skill
    named = np.where(right, identity, "nobody else")
    iou = np.where(rng.uniform(size=60) < 0.9, boxes, 0.3)
    faces = pd.DataFrame({"photo": names, "identity": identity, "predicted_identity": named})
    faces = faces.assign(iou=iou, iou_calibrated=iou, oracle_identity=named, found=True)
    photos = pd.DataFrame({"photo": names, "identity": identity, "iou": iou})
    photos = photos.assign(correct=right, known=True, predicted_identity=named)
    hit = iou >= 0.5
    detections = pd.DataFrame({"photo": names, "score": rng.uniform(size=60), "right": hit})
    results = measures(faces, photos, detections).assign(commit="abc")
    return experiment1.Tested(results, photos, faces, detections)


@pytest.fixture
def arms(monkeypatch, tmp_path):
    """Three seeds of a good and a poor system, and of one that is the good one again."""
    skills = {"joint": 0.9, "two_stage_photo": 0.5, "two_stage_face": 0.9}
    answers = {
        (system, seed): answered(seed, skill)
        for system, skill in skills.items()
        for seed in range(3)
    }
    monkeypatch.setattr(
        experiment1, "evaluate", lambda config, system: answers[system, config.seed]
    )
    configs = {seed: Config(tmp_path, Profile("x"), seed=seed) for seed in range(3)}
    return {Arm(name, "scratch"): OfSeeds(name, configs) for name in skills}


def test_a_number_is_of_all_faces_of_all_seeds(arms):
    (arm, tests), *_ = arms.items()
    rows = over_seeds(arm, tests).set_index("metric")
    photos = pd.concat([one.photos for one in tests.by_seed.values()])
    row = rows.loc["accuracy"]
    assert row["value"] == pytest.approx(photos["correct"].mean())
    assert row["low"] < row["value"] < row["high"]
    assert (row["n"], row["people"], row["seeds"]) == (180, 30, "0 1 2")
    each = [one.photos["correct"].mean() for one in tests.by_seed.values()]
    assert row["seed_values"] == " ".join(f"{value:.4g}" for value in each)
    assert {"joint_accuracy_50", "mean_iou", "ap50", "oracle_box_accuracy"} <= set(rows.index)


def test_a_difference_is_of_the_same_faces_and_its_test_over_people(arms):
    table = differences(arms, seed=0).set_index(["metric", "against"])
    row = table.loc[("accuracy", "two_stage_photo")]
    good, poor = (arms[Arm(name, "scratch")] for name in ("joint", "two_stage_photo"))
    means, all_of_person = [], dict.fromkeys(PEOPLE, 0.0)
    for seed in range(3):
        a, b = (tests.by_seed[seed].photos["correct"].astype(float) for tests in (good, poor))
        means.append((a - b).mean())
        for photo, difference in zip(good.by_seed[seed].photos["photo"], a - b, strict=True):
            all_of_person[photo.split("-")[0]] += difference
    assert row["value"] == pytest.approx(np.mean(means))
    assert row["seed_values"] == " ".join(f"{mean:.4g}" for mean in means)
    p = sign_flip_test(list(all_of_person.values()), draws=19_999, seed=0)
    assert row["p"] == pytest.approx(p)
    assert (row["n"], row["people"]) == (180, 30)
    assert row["holds"] and row["low"] > 0


def test_tests_of_a_table_are_corrected_for_their_number(arms):
    table = differences(arms, seed=0)
    assert len(table) == 2 * len(comparisons.COMPARED)
    np.testing.assert_allclose(table["p_holm"], holm(table["p"]))
    alone = differences({arm: arms[arm] for arm in list(arms)[:2]}, seed=0)
    pair = ["metric", "against"]
    both = table.merge(alone, on=pair)
    assert (both["high_x"] - both["low_x"] >= both["high_y"] - both["low_y"]).all()
    assert not table.loc[table["against"] == "two_stage_face", "holds"].any()


@pytest.mark.parametrize("change", ["two seeds", "one seed the other way"])
def test_what_does_not_hold_in_each_of_three_seeds_is_not_claimed(arms, change, monkeypatch):
    if change == "two seeds":
        arms = {
            arm: OfSeeds(one.system, {seed: one.configs[seed] for seed in (0, 1)})
            for arm, one in arms.items()
        }
    else:
        answers = experiment1.evaluate

        def turned(config, system):
            pair = {"joint": "two_stage_photo", "two_stage_photo": "joint"}
            return answers(config, pair.get(system, system) if config.seed == 2 else system)

        monkeypatch.setattr(experiment1, "evaluate", turned)
    table = differences(arms, seed=0).set_index(["metric", "against"])
    row = table.loc[("accuracy", "two_stage_photo")]
    assert len(row["seeds"].split()) == (2 if change == "two seeds" else 3)
    assert not row["holds"]


def test_each_joint_net_is_compared_with_those_of_its_start_and_with_references():
    arms = [
        Arm("joint", "scratch"),
        Arm("two_stage_photo", "scratch"),
        Arm("names_only", "scratch"),
        Arm("joint", "default"),
        Arm("two_stage_aligned", "dlib"),
        Arm("hog_nearest", "none"),
        Arm("chance", "none"),
    ]
    assert pairs_of(arms) == [
        (arms[0], arms[1]),
        (arms[0], arms[2]),
        (arms[0], arms[5]),
        (arms[3], arms[4]),
        (arms[3], arms[0]),
        (arms[3], arms[5]),
    ]


def test_only_what_can_be_measured_of_a_system_is_compared(arms):
    arms = arms | {Arm("hog_nearest", "none"): arms[Arm("two_stage_photo", "scratch")]}
    table = differences(arms, seed=0)
    assert set(table["metric"][table["against"] == "hog_nearest"]) == {"oracle_box_accuracy"}


def test_tables_are_written_and_say_how_they_came_about(arms, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "TABLES", tmp_path / "tables")
    monkeypatch.setattr(comparisons, "arms_of", lambda configs, systems: arms)
    about = {"dataset": "x", "split": "photo", "profile": "quick", "seed": 0, "precision": "fp32"}
    monkeypatch.setattr(
        comparisons,
        "columns",
        lambda *told: about | {"commit": "c", "run": "r", "command": told[2]},
    )
    monkeypatch.setattr(comparisons, "key", lambda *_, **__: "r")
    system = {"start": "scratch", "backbone": "resnet18", "input_px": 96, "precision": "fp32"}
    monkeypatch.setattr(experiment1, "about_system", lambda *_: system)
    configs = [Config(tmp_path, Profile("quick"), seed=seed) for seed in range(3)]
    for _ in range(2):  # the same again takes its own place
        comparisons.compare(configs)
    for file, rows in (("experiment1_seeds.csv", 3 * 9), ("experiment1_pairs.csv", 8)):
        table = tables.read_table(tmp_path / "tables" / file)
        assert len(table) == rows
        assert set(table["seeds"]) == {"0 1 2"}
        assert table["command"].str.contains("compare .*--seeds 0 1 2").all()
    with pytest.raises(ValueError, match="differ in more than their seeds"):
        comparisons.compare([configs[0], dataclasses.replace(configs[1], split="session")])
    with pytest.raises(ValueError, match="they start from default, not from random weights"):
        comparisons.compare([dataclasses.replace(configs[0], start=Path("default"))])
    with pytest.raises(ValueError, match="unknown systems three_stage; choose of joint, two_stage"):
        comparisons.compare(configs, ["three_stage"])


def test_all_that_is_asked_for_is_compared_whatever_it_starts_from(tmp_path):
    configs = [Config(tmp_path, Profile("x"), seed=seed) for seed in (4, 5)]
    arms = comparisons.arms_of(configs, ["joint", "boxes_only"])
    assert list(arms)[:2] == [Arm("joint", "scratch"), Arm("boxes_only", "scratch")]
    begun = {
        Arm("joint", "default"),
        Arm("two_stage_face", "dlib"),
        Arm("two_stage_aligned", "dlib"),
    }
    assert set(arms) == {
        *list(arms)[:2],
        *begun,
        *(Arm(name, "none") for name in tables.REFERENCES),
    }
    for arm, tests in arms.items():
        assert list(tests.configs) == [4, 5] and tests.system == arm.system
        assert all(config.is_started == (arm in begun) for config in tests.configs.values())
