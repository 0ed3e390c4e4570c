"""Similarity against nuisance factors, by loops over pairs."""

import numpy as np
import pandas as pd
import pytest
from conftest import face
from PIL import Image

from thesislib.data.schema import read_dataset
from thesislib.engine.checkpoint import DEFAULT, net_file
from thesislib.experiments import factors as module
from thesislib.experiments.factors import factor_differences, factors, with_factors
from thesislib.faces import NOSE, Face, yaw_of
from thesislib.synthetic import sets


def light(rows, at):
    """Unit vector to the light of a row, by the definition of azimuth and elevation."""
    azimuth, elevation = np.radians(
        rows.loc[at, ["factor_light_azimuth", "factor_light_elevation"]].to_numpy(float)
    )
    across = np.cos(elevation)
    return [across * np.sin(azimuth), np.sin(elevation), across * np.cos(azimuth)]


def difference(rows, factor, i, j):
    if factor == "yaw":
        return abs(rows["factor_yaw"][i] - rows["factor_yaw"][j])
    if factor == "light":
        return np.degrees(np.arccos(np.dot(light(rows, i), light(rows, j))))
    return float(rows["session"][i] != rows["session"][j])


def test_factors_against_loops():
    rng = np.random.default_rng(1)
    names = np.repeat(np.array([f"p{at}" for at in range(6)], object), 4)
    vectors = rng.normal(size=(6, 8)).repeat(4, axis=0) + 0.9 * rng.normal(size=(24, 8))
    rows = pd.DataFrame(
        {
            "identity": names,
            "session": np.tile(["1", "1", "2", ""], 6),
            "factor_yaw": rng.uniform(-40, 40, 24),
            "factor_light_azimuth": rng.uniform(-60, 60, 24),
            "factor_light_elevation": rng.uniform(10, 60, 24),
        }
    )
    rows.loc[3, "factor_yaw"] = np.nan  # not known: in no bin
    table = factors(vectors, rows, seed=0, draws=50)
    sessions = rows["session"].tolist()
    assert set(table["factor"]) == {"yaw", "light"}
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for row in table.itertuples():
        values = [
            float(unit[i] @ unit[j])
            for i in range(24)
            for j in range(i)
            if (names[i] == names[j]) == (row.pairs == "intra")
            # Photos of one sitting share more than the factor; an unknown one is of its own.
            and (row.pairs == "inter" or not sessions[i] or sessions[i] != sessions[j])
            and (row.low <= difference(rows, row.factor, i, j) < row.high)
        ]
        assert row.n == len(values)
        assert row.mean == pytest.approx(np.mean(values))
        if row.pairs == "intra" and row.n > 3:
            assert row.interval_low <= row.mean <= row.interval_high


def test_the_cost_of_another_session_counts_pairs_of_one_session_too():
    vectors = np.eye(6)[[0, 0, 1, 2, 2, 3]]
    rows = pd.DataFrame({"identity": ["a"] * 3 + ["b"] * 3, "session": ["1", "1", "2"] * 2})
    table = factors(vectors, rows, seed=0, draws=5).set_index(["pairs", "low"])
    assert table.loc["intra", ["mean", "n"]].to_numpy().tolist() == [[1, 2], [0, 4]]
    # Sessions of two people have nothing in common: all nine pairs, for either.
    assert table.loc["inter", ["mean", "n"]].to_numpy().tolist() == [[0, 9]] * 2


def test_what_no_face_tells_has_no_row():
    rows = pd.DataFrame({"identity": ["a", "a", "b"], "session": "", "factor_yaw": np.nan})
    assert len(factors(np.eye(3), rows, seed=0, draws=5)) == 0


def test_factors_that_are_not_known_are_not_drawn():
    rows = pd.DataFrame({"identity": ["a", "a"], "session": ["", "1"]})
    assert factor_differences(rows) == {}
    half = rows.assign(factor_light_azimuth=0.0)
    assert factor_differences(half) == {}


def turned(degrees):
    """Eyes, nose and mouth [5, 2] of a head turned and tilted, seen from afar."""
    angle, tilt = np.radians([degrees, 12])
    points = np.array(
        [(-0.5, 0, 0), (0.5, 0, 0), (0, 0.6, NOSE), (-0.3, 1.1, 0.1), (0.3, 1.1, 0.1)]
    )
    x = points[:, 0] * np.cos(angle) + points[:, 2] * np.sin(angle)
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    return 100 + 40 * np.stack([x, points[:, 1]], axis=1) @ turn.T


def test_yaw_is_told_by_the_nose_between_the_eyes():
    level = np.stack([turned(degrees) for degrees in (-35, 0, 20)])
    # Tilted heads move the nose along the eyes, too; without tilt it is exact.
    tilt = np.radians(-12)
    back = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    np.testing.assert_allclose(yaw_of(level @ back.T), [-35, 0, 20], atol=1e-6)
    np.testing.assert_allclose(yaw_of(level), [-35, 0, 20], atol=1e-6)


def test_photos_tell_brightness_size_and_yaw_where_nothing_is_annotated(write_dataset, monkeypatch):
    rows = [face("a.png", "anna", (8, 4, 28, 20)), face("b.png", "anna"), face("c.png", "boris")]
    folder = write_dataset(rows)
    faces = read_dataset(folder).table
    landmarks = turned(20).astype(np.float32)

    def predict(net, files, progress):
        there = Face(np.array([9, 4, 28, 21], np.float32), 0.9, landmarks=landmarks)
        elsewhere = Face(np.array([30, 20, 40, 30], np.float32), 0.9, landmarks=landmarks)
        return [[elsewhere, there], [elsewhere], []]

    monkeypatch.setattr(module, "load_net", lambda name: None)
    monkeypatch.setattr(module, "predict", predict)
    found = with_factors(folder, faces)
    photo = np.asarray(Image.open(folder / "a.png").convert("RGB"))
    assert found["factor_brightness"][0] == pytest.approx(photo[4:20, 8:28].mean())
    assert found["factor_size"][0] == pytest.approx(np.sqrt(20 * 16))
    assert found["factor_yaw"].tolist()[:1] == pytest.approx([20])
    assert found["factor_yaw"].isna().tolist() == [False, True, True]
    differences = factor_differences(found)
    assert set(differences) == {"yaw", "brightness", "size"}
    smaller = differences["size"][0]
    assert smaller[0, 1] == smaller[1, 0] == pytest.approx(min(np.sqrt(320), 20))
    grey = found["factor_brightness"]
    assert differences["brightness"][0][0, 2] == pytest.approx(abs(grey[0] - grey[2]))


def test_what_is_annotated_is_not_measured_again(tmp_path):
    faces = pd.DataFrame({"photo": ["nowhere.png"], "factor_yaw": [3.0]})
    assert with_factors(tmp_path, faces) is faces


def test_the_published_net_tells_the_yaw_of_synthetic_people(tmp_path):
    if not net_file(DEFAULT).is_file():
        pytest.skip("the published net's file is not there")
    spec = sets.SyntheticSet(people=4, photos=12, sessions=1, size=160, first_identity=7_000_000)
    sets.make(tmp_path / "made", spec, progress=False)
    faces = read_dataset(tmp_path / "made").table
    told = with_factors(tmp_path / "made", faces[[c for c in faces if c[:7] != "factor_"]])
    error = (told["factor_yaw"] - faces["factor_yaw"]).abs()
    assert error.notna().sum() >= 10 and error.mean() < 7
