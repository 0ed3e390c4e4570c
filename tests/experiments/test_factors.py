"""Similarity against nuisance factors, by loops over pairs."""

import numpy as np
import pandas as pd
import pytest

from thesislib.experiments.factors import factor_differences, factors


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
            "session": np.tile(["1", "1", "2", "2"], 6),
            "factor_yaw": rng.uniform(-40, 40, 24),
            "factor_light_azimuth": rng.uniform(-60, 60, 24),
            "factor_light_elevation": rng.uniform(10, 60, 24),
        }
    )
    rows.loc[3, "factor_yaw"] = np.nan  # not known: in no bin
    table = factors(vectors, rows, seed=0, draws=50)
    assert set(table["factor"]) == {"yaw", "light", "session"}
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for row in table.itertuples():
        values = [
            float(unit[i] @ unit[j])
            for i in range(24)
            for j in range(i)
            if (names[i] == names[j]) == (row.pairs == "intra")
            and (
                # Sessions of two people have nothing in common.
                (row.factor == "session" and row.pairs == "inter")
                or row.low <= difference(rows, row.factor, i, j) < row.high
            )
        ]
        assert row.n == len(values)
        assert row.mean == pytest.approx(np.mean(values))
        if row.pairs == "intra" and row.n > 3:
            assert row.interval_low <= row.mean <= row.interval_high


def test_factors_that_are_not_known_are_not_drawn():
    rows = pd.DataFrame({"identity": ["a", "a"], "session": ["", "1"]})
    assert factor_differences(rows) == {}
    half = rows.assign(factor_light_azimuth=0.0)
    assert factor_differences(half) == {}
