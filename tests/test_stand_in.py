"""What is asked of synthetic people, each measure against a loop."""

import numpy as np
import pandas as pd
import pytest
from conftest import face, noise
from PIL import Image

from thesislib.experiments import stand_in
from thesislib.metrics import statistics

pass
from thesislib.data.images import read_photo
from thesislib.data.schema import read_dataset


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
        return noise(8, 8), [{"box": np.array([0.0, 0.0, 10.0, 10.0])}]

    def detect(photo, upsampling):
        yaw = drawn[-1][1]
        beside, half = [20.0, 20.0, 30.0, 30.0], [0.0, 5.0, 10.0, 15.0]  # IoU 0 and 1/3
        boxes = {0: [beside, half], 10: [beside], -10: []}.get(yaw, [[0.0, 0.0, 10.0, 10.0]])
        return np.array(boxes, np.float32).reshape(-1, 4), np.zeros(len(boxes))

    monkeypatch.setattr(synthetic, "render_photo", render)
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
    ("detected_within_30_degrees", None): 0.91,
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
    low, high = statistics.bootstrap_interval(right, groups=groups, seed=0)
    assert (row["value"], row["low"], row["high"]) == (pytest.approx(4 / 6), low, high)
    assert (row["n"], row["chance"], row["split"]) == (6, 0.1, "photo")
