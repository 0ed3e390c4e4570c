"""Measures of photos against loops, near-duplicates across a split, outliers."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from thesislib.data import inspect
from thesislib.data.schema import read_dataset


@pytest.fixture
def looked(tmp_path):
    """Six photos: noise, its near copy, grey, dark, one of nobody, one with two faces."""
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    noise = np.kron(rng.integers(0, 256, (6, 8)), np.ones((8, 8))).astype(np.uint8)
    other = np.kron(rng.integers(0, 256, (6, 8)), np.ones((8, 8))).astype(np.uint8)
    pictures = [noise, np.clip(noise.astype(int) + 3, 0, 255), np.full((48, 64), 128), other // 8]
    pictures += [other, np.flip(noise, 1)]
    rows = ["photo,identity,session,width,height,x1,y1,x2,y2"]
    for at, picture in enumerate(pictures):
        Image.fromarray(np.uint8(picture)).convert("RGB").save(tmp_path / f"photos/{at}.png")
        box = "" if at == 4 else f"{4 + at},8,{24 + at},32"
        rows.append(f"photos/{at}.png,{'' if at == 4 else 'anna'},,64,48,{box or ',,,'}")
    rows.append("photos/5.png,boris,,64,48,30,4,60,44")
    (tmp_path / "annotations.csv").write_text("\n".join(rows) + "\n")
    dataset = read_dataset(tmp_path)
    table, thumbs = inspect.measure_photos(dataset, progress=False)
    return table, thumbs


def test_measures_against_loops(looked, tmp_path):
    table, thumbs = looked
    for at in range(6):
        grey = Image.open(tmp_path / f"photos/{at}.png").convert("L")
        picture = (np.asarray(grey) / 255).tolist()  # a list is read ten times as fast in loops
        row = table.iloc[at]
        total = [picture[y][x] for y in range(48) for x in range(64)]
        assert row["brightness"] == pytest.approx(sum(total) / len(total), abs=1e-5)
        variance = sum((v - sum(total) / len(total)) ** 2 for v in total) / len(total)
        assert row["contrast"] == pytest.approx(variance**0.5, abs=1e-5)
        down = [abs(picture[y + 1][x] - picture[y][x]) for y in range(47) for x in range(64)]
        right = [abs(picture[y][x + 1] - picture[y][x]) for y in range(48) for x in range(63)]
        sharp = (sum(down) / len(down) + sum(right) / len(right)) / 2
        assert row["sharpness"] == pytest.approx(sharp, abs=1e-5)
    assert table["faces"].tolist() == [1, 1, 1, 1, 0, 2]
    assert table["identity"].tolist() == [*["anna"] * 4, "", "boris"]  # of the larger face
    assert table["face_size"][0] == pytest.approx((20 * 24 / (64 * 48)) ** 0.5)
    assert table["box_shape"][0] == pytest.approx(20 / 24)
    assert table["off_centre"][0] == pytest.approx(np.hypot(14 - 32, 20 - 24) / 80)
    assert np.isnan(table["face_size"][4])
    assert table["face_size"][5] == pytest.approx((30 * 40 / (64 * 48)) ** 0.5)  # the larger one
    np.testing.assert_allclose(np.linalg.norm(thumbs, axis=1), [1, 1, 0, 1, 1, 1], atol=1e-5)


def test_near_duplicates_are_found_across_parts_alone(looked):
    table, thumbs = looked
    photos = table["photo"].tolist()
    part = pd.DataFrame({"photo": photos, "part": ["train", "test", "train", "train", "test", "x"]})
    part.loc[5, "part"] = "train"
    found = inspect.near_duplicates(photos, thumbs, part)
    # 4 is 3 but brighter; 2 is uniform and like nothing.
    pairs = set(zip(found["test_photo"], found["train_photo"], strict=True))
    assert pairs == {("photos/1.png", "photos/0.png"), ("photos/4.png", "photos/3.png")}
    assert (found["similarity"] >= 0.995).all() and found["similarity"].is_monotonic_decreasing
    same_side = part.assign(part=["train", "train", "test", "train", "train", "train"])
    assert inspect.near_duplicates(photos, thumbs, same_side).empty


def test_the_oddest_against_a_loop():
    rng = np.random.default_rng(1)
    names = [*inspect._MEASURES]
    looks = pd.DataFrame(rng.normal(size=(40, len(names))), columns=names)
    looks.insert(0, "photo", [f"{at}.png" for at in range(40)])
    looks["identity"] = [("anna", "boris")[at % 2] for at in range(40)]
    looks.loc[7, "brightness"] = 30.0
    looks.loc[9, "box_shape"] = -20.0
    looks.loc[3, "face_size"] = np.nan
    looks["off_centre"] = 0.0  # no spread: tells nothing
    found = inspect.outliers(looks, 5)
    assert found["photo"].tolist()[:2] == ["7.png", "9.png"]
    assert found["measure"].tolist()[:2] == ["brightness", "box_shape"]
    for row in found.itertuples():
        usual = {}
        for name in ("anna", "boris"):  # the same person's photos for some measures, all for others
            of_person = row.measure in ("brightness", "contrast", "sharpness")
            own = looks[looks["identity"] == name] if of_person else looks
            usual[name] = np.median([v for v in own[row.measure] if not np.isnan(v)])
        off = [
            abs(v - usual[name])
            for v, name in zip(looks[row.measure], looks["identity"], strict=True)
            if not np.isnan(v)
        ]
        assert row.usual == pytest.approx(usual[row.identity])
        assert row.distance == pytest.approx(abs(row.value - row.usual) / (1.4826 * np.median(off)))
    assert len(inspect.outliers(looks)) == 20


def test_skin_tone_alone_does_not_make_a_photo_odd():
    rng = np.random.default_rng(2)
    people = np.repeat([f"p{at}" for at in range(10)], 12)
    looks = pd.DataFrame(rng.normal(0.5, 0.02, (120, 6)), columns=[*inspect._MEASURES])
    looks.insert(0, "photo", [f"{at}.png" for at in range(120)])
    looks["identity"] = people
    dark = looks.copy()
    # One person's photos are all darker and of less contrast, as dark skin and hair make them.
    dark.loc[people == "p3", ["brightness", "contrast", "sharpness"]] -= 0.2
    before, after = inspect.outliers(looks, 120), inspect.outliers(dark, 120)
    assert after["photo"].tolist() == before["photo"].tolist()
    assert after["distance"].to_numpy() == pytest.approx(before["distance"].to_numpy())
    # But one photo of hers that is darker than her others is told.
    dark.loc[40, "brightness"] -= 0.2
    found = inspect.outliers(dark, 1).iloc[0]
    assert (found["photo"], found["identity"], found["measure"]) == ("40.png", "p3", "brightness")


def test_light_of_photos_of_nobody_known_is_compared_with_none():
    looks = pd.DataFrame(np.eye(4, 6) + 0.5, columns=[*inspect._MEASURES])
    looks.insert(0, "photo", [f"{at}.png" for at in range(4)])
    looks["identity"] = ""
    found = inspect.outliers(looks)
    assert not found["measure"][found["distance"] > 0].isin(inspect._OF_PERSON).any()
