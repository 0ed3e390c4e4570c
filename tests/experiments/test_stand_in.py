"""What is asked of synthetic people, each measure against a loop."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import face, noise
from PIL import Image

from thesislib import paths, tables
from thesislib.data.images import read_photo
from thesislib.data.schema import read_dataset
from thesislib.experiments import baseline_comparison, stand_in
from thesislib.experiments.config import Config, command
from thesislib.metrics.matching import jointly_correct
from thesislib.metrics.statistics import bootstrap_interval
from thesislib.profiles import Profile
from thesislib.synthetic import scene


def shrunk(photo):
    """Mean colour of 24 x 32 parts, by loops."""
    rows = [int(at * photo.shape[0] / 24) for at in range(24)] + [photo.shape[0]]
    columns = [int(at * photo.shape[1] / 32) for at in range(32)] + [photo.shape[1]]
    small = np.zeros((24, 32, 3))
    for y in range(24):
        for x in range(32):
            part = photo[rows[y] : rows[y + 1], columns[x] : columns[x + 1]]
            small[y, x] = part.reshape(-1, 3).mean(axis=0) / 255
    return small


def test_a_linear_classifier_sees_the_photo_or_the_background_alone(write_dataset):
    box = (40, 50, 60, 70)
    folder = write_dataset([face("photos/1.png", box=box, width=128, height=96)])
    photo = read_photo(folder / "photos/1.png")
    dataset = read_dataset(folder)
    np.testing.assert_allclose(
        stand_in.small_photos(dataset, "photo")[0], shrunk(photo).ravel(), atol=1e-5
    )
    for y in range(96):
        for x in range(128):
            if y >= 50 - 0.9 * 20 and 40 - 1.2 * 20 <= x < 60 + 1.2 * 20:
                photo[y, x] = 128
    np.testing.assert_allclose(
        stand_in.small_photos(dataset, "background")[0], shrunk(photo).ravel(), atol=1e-5
    )


def test_a_linear_classifier_names_what_can_be_told_apart_and_nothing_else():
    rng = np.random.default_rng(0)
    identities = np.array(["anna", "boris", "carla"] * 40)
    train = np.arange(120) < 60
    features = rng.normal(size=(120, 20)).astype(np.float32)
    by_luck = stand_in.linear_probe(features, identities, train)
    assert by_luck.shape == (60,)
    assert by_luck.mean() < 0.6
    features[:, 0] += 10 * (identities == "anna")
    features[:, 1] += 10 * (identities == "boris")
    assert stand_in.linear_probe(features, identities, train).mean() > 0.9


def test_a_head_is_found_where_a_detection_overlaps_it(monkeypatch):
    drawn = []

    def render(identity, session, shot, seed, size, changes):
        drawn.append((identity, changes["yaw"]))
        return noise(8, 8), [SimpleNamespace(box=np.array([0.0, 0.0, 10.0, 10.0]))]

    def detect(photo, upsampling):
        yaw = drawn[-1][1]
        beside, half = [20.0, 20.0, 30.0, 30.0], [0.0, 5.0, 10.0, 15.0]  # IoU 0 and 1/3
        boxes = {0: [beside, half], 10: [beside], -10: []}.get(yaw, [[0.0, 0.0, 10.0, 10.0]])
        return np.array(boxes, np.float32).reshape(-1, 4), np.zeros(len(boxes))

    monkeypatch.setattr(scene, "render_photo", render)
    monkeypatch.setattr(stand_in, "detect_faces", detect)
    turned = stand_in.detection_by_yaw(2, progress=False)
    assert len({identity for identity, _ in drawn}) == 2
    assert sorted(set(turned["yaw"])) == list(range(-60, 61, 10))
    for row in turned.itertuples():
        assert row.found == (row.yaw not in (10, -10))
    shares = stand_in._by_yaw(turned).set_index("yaw")
    assert shares["found"].to_dict() == {yaw: float(yaw not in (10, -10)) for yaw in stand_in.YAWS}
    assert (shares["n"] == 2).all()
    frontal = stand_in._frontal(turned)
    assert frontal["value"] == pytest.approx(10 / 14)  # of seven angles two are lost
    assert frontal["n"] == 14


FAIR = {
    ("detected_within_30_degrees", ""): 0.91,
    ("linear_classifier_on_photo", "session"): 0.15,
    ("linear_classifier_on_background", "session"): 0.05,
    ("joint_accuracy_50", "photo"): 0.9,
    ("joint_accuracy_50", "session"): 0.4,
}


def answers(away=0.1, **changes):
    value = FAIR | {key: changes[key[0]] for key in FAIR if key[0] in changes}
    table = pd.DataFrame(
        [(*key, share, 0.05) for key, share in value.items()],
        columns=["measure", "split", "value", "chance"],
    )
    yaw = pd.DataFrame({"yaw": [-60, 0, 60], "found": [0.0, 0.95, away]})
    return stand_in.verdicts(table, yaw).tolist()


def test_verdicts():
    assert answers() == [True] * 5
    assert answers(detected_within_30_degrees=0.89) == [False, True, True, True, True]
    assert answers(away=0.5) == [True, False, True, True, True]
    assert answers(linear_classifier_on_background=0.16) == [True, True, False, True, True]
    assert answers(linear_classifier_on_photo=0.16) == [True, True, True, False, True]
    assert answers(joint_accuracy_50=0.9) == [True, True, True, True, False]


def test_the_background_of_a_photo_of_the_face_alone_is_grey(tmp_path, write_dataset):
    folder = write_dataset([face("photos/1.png", box=(2, 2, 46, 30))])
    Image.fromarray(noise(32, 48, 5)).save(folder / "photos/1.png")
    grey = stand_in.small_photos(read_dataset(folder), "background")
    np.testing.assert_allclose(grey, 128 / 255, atol=1e-6)


def test_a_row_has_the_bootstrap_interval_of_its_people():
    right = np.array([1, 0, 1, 1, 0, 1], float)
    groups = np.array(["a", "a", "b", "b", "c", "c"])
    row = stand_in._row("m", "photo", right, 0.1, groups)
    low, high = bootstrap_interval(right, groups=groups, seed=0)
    assert (row["value"], row["low"], row["high"]) == (pytest.approx(4 / 6), low, high)
    assert (row["n"], row["chance"], row["split"]) == (6, 0.1, "photo")


# --- all of it --------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path, monkeypatch, write_dataset):
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(paths, "TABLES", tmp_path / "tables")
    monkeypatch.setenv("TQDM_DISABLE", "1")
    rows = [
        face(f"photos/{who}{at}.png", who, (8, 6, 28, 26), str(at % 2))
        for who in ("anna", "boris")
        for at in range(6)
    ]
    tiny = {"backbone": "resnet18", "input_px": 32, "pooling": 1, "embedding_dim": 8}
    profile = Profile("tiny", epochs=1, batch=8, anchors=1, **tiny)
    return Config(write_dataset(rows), profile)


@pytest.fixture
def turning(monkeypatch):
    """How often heads were turned; dlib finds those that look ahead."""
    asked = []

    def turned(people, seed, progress):
        asked.append(people)
        rows = [(f"{at}", yaw, abs(yaw) < 30) for at in range(people) for yaw in stand_in.YAWS]
        return pd.DataFrame(rows, columns=["identity", "yaw", "found"])

    monkeypatch.setattr(stand_in, "detection_by_yaw", turned)
    return asked


def test_the_four_questions_are_answered_once_and_put_into_tables(config, turning):
    table, yaw = stand_in.measure(config, people=3)
    asked = [("detected_within_30_degrees", "")]
    asked += [
        (f"linear_classifier_on_{what}", split)
        for what in ("photo", "background")
        for split in ("photo", "session")
    ]
    asked += [("joint_accuracy_50", "photo"), ("joint_accuracy_50", "session")]
    assert list(zip(table["measure"], table["split"], strict=True)) == asked
    for split in ("photo", "session"):
        one = dataclasses.replace(config, split=split)
        faces = baseline_comparison.evaluate(one, "joint").faces
        row = table[(table["measure"] == "joint_accuracy_50") & (table["split"] == split)].iloc[0]
        assert row["value"] == pytest.approx(jointly_correct(faces, 0.5).mean())
        assert (row["n"], row["chance"]) == (len(faces), 0.5)
    frontal = table.set_index("measure").loc["detected_within_30_degrees"]
    assert (frontal["value"], frontal["n"]) == (pytest.approx(5 / 7), 21)
    assert yaw.set_index("yaw")["found"].to_dict() == {at: abs(at) < 30 for at in stand_in.YAWS}
    again = stand_in.measure(config, people=3)
    pd.testing.assert_frame_equal(again[0], table)
    assert turning == [3]
    for name, rows in ((stand_in.TABLE, table), (stand_in.YAW_TABLE, yaw)):
        stored = tables.read_table(paths.TABLES / name)
        assert len(stored) == len(rows)
        assert set(tables.RUN_COLUMNS) <= set(stored)
    assert set(stored["command"]) == {command(config, "stand-in", split=None)}
    assert "split" not in stored  # both are in it


def test_other_numbers_of_people_or_seeds_are_asked_anew(config, turning):
    stand_in.measure(config, people=3)
    stand_in.measure(config, people=4)
    assert turning == [3, 4]
    assert tables.read_table(paths.TABLES / stand_in.YAW_TABLE)["run"].nunique() == 2


def test_the_split_by_session_is_made_here(config):
    with pytest.raises(ValueError, match="a split by session; both others are made from one by"):
        stand_in.measure(dataclasses.replace(config, split="session"))
