"""Sittings of one scene are found by what is around the faces, and by nothing else."""

import numpy as np
import pytest
from conftest import face
from PIL import Image

from thesislib.data.scenes import (
    SIDE,
    Surroundings,
    likeness,
    linked,
    seen_around,
    surroundings,
    with_scenes,
)
from thesislib.data.schema import Dataset, read_dataset


def sitting(seed, hidden=0.2):
    rng = np.random.default_rng(seed)
    seen = rng.random((SIDE, SIDE)) >= hidden
    return Surroundings(rng.random((SIDE, SIDE, 3)) * 255 * seen[..., None], seen)


NONE = np.empty((0, 2), dtype=np.int64)


def nearly(one, seed):
    """The same scene, taken with another camera."""
    rng = np.random.default_rng(seed)
    return one._replace(colours=(one.colours * 0.8 + rng.normal(size=one.colours.shape) * 8))


def test_likeness_against_a_loop():
    sittings = [sitting(seed, hidden=0.1 * seed) for seed in range(5)]
    pairs = np.array([(0, 1), (1, 0), (2, 4), (3, 3)])
    mean = np.zeros((SIDE, SIDE, 3))
    for row in range(SIDE):
        for column in range(SIDE):
            there = [one.colours[row, column] for one in sittings if one.seen[row, column]]
            if there:
                mean[row, column] = np.mean(there, axis=0)
    expected = []
    for one, other in pairs:
        both = sittings[one].seen & sittings[other].seen
        a, b = ((sittings[at].colours - mean)[both].ravel() for at in (one, other))
        expected.append(np.corrcoef(a, b)[0, 1])
    np.testing.assert_allclose(likeness(sittings, pairs), expected, atol=1e-9)
    assert expected[3] == pytest.approx(1)


def test_what_shows_too_little_or_one_colour_is_like_nothing():
    blank = Surroundings(np.full((SIDE, SIDE, 3), 7.0), np.ones((SIDE, SIDE), dtype=bool))
    hidden = sitting(1)._replace(seen=np.arange(SIDE * SIDE).reshape(SIDE, SIDE) < 10)
    assert np.isnan(likeness([blank, blank], np.array([(0, 1)]))).all()
    assert np.isnan(likeness([hidden, sitting(2)], np.array([(0, 1)]))).all()


def test_scenes_are_linked_within_a_person_alone_and_by_chains():
    first = sitting(0)
    sittings, owner = [first, sitting(1), nearly(first, 2), first], ["anna"] * 3 + ["boris"]
    for seed in range(3, 40):
        sittings.append(sitting(seed))
        owner.append(f"p{seed % 9}")
    found = linked(sittings, np.array(owner, object), NONE)
    assert found[:4].tolist() == [0, 1, 0, 0]
    for who in set(owner):
        own = found[[name == who for name in owner]]
        assert sorted(set(own)) == list(range(own.max() + 1))


def test_sittings_of_equal_bytes_are_one_scene_whatever_is_seen():
    hidden = sitting(1)._replace(seen=np.zeros((SIDE, SIDE), dtype=bool))
    sittings = [sitting(0), hidden, hidden, sitting(2)]
    owner = np.array(["anna"] * 3 + ["boris"], object)
    assert linked(sittings, owner, NONE).tolist() == [0, 1, 2, 0]
    assert linked(sittings, owner, np.array([(1, 2), (3, 3)])).tolist() == [0, 1, 1, 0]


def test_many_sittings_of_one_person_do_not_hang_together_by_chance():
    sittings = [sitting(seed) for seed in range(500)]
    owner = np.array(["anna"] * 300 + [f"p{at // 2}" for at in range(200)], object)
    anna = linked(sittings, owner, NONE)[:300]
    # By chance a fifth of a link each, so that most stay alone; at one pair in a hundred there
    # would be three links each, and all but a few of them one scene.
    assert len(set(anna)) > 220
    assert np.bincount(anna).max() < 20


def test_faces_hide_what_is_behind_them():
    seen = seen_around(np.array([[40.0, 40, 80, 80]]), 160, 160)
    expected = np.ones((SIDE, SIDE), dtype=bool)
    # From 0.3 of its width beside the box, 0.5 of its height above and 0.2 below.
    expected[2:9, 2:10] = False
    assert (seen == expected).all()
    assert seen_around(np.empty((0, 4)), 48, 32).all()
    assert not seen_around(np.array([[0.0, 0, 48, 32]]), 48, 32).any()


@pytest.fixture
def clips(write_dataset):
    """Nine people of four clips of two photos; two clips of p0 are of one room."""
    rows = [
        face(f"p{who}_{clip}_{at}.png", f"p{who}", (16, 16, 32, 32), str(clip), 64, 64)
        for who in range(9)
        for clip in range(4)
        for at in range(2)
    ]
    folder = write_dataset(rows)
    rng = np.random.default_rng(0)
    for who in range(9):
        rooms = [rng.integers(0, 256, (8, 8, 3), dtype=np.uint8) for _ in range(4)]
        if who == 0:
            rooms[3] = rooms[1]
        for clip, room in enumerate(rooms):
            for at in range(2):
                photo = np.asarray(Image.fromarray(room).resize((64, 64)), dtype=np.float64)
                photo = photo + rng.normal(size=photo.shape) * 10
                photo[16:32, 16:32] = rng.random(3) * 255
                Image.fromarray(np.clip(photo, 0, 255).astype(np.uint8)).save(
                    folder / f"p{who}_{clip}_{at}.png"
                )
    return read_dataset(folder)


def test_clips_of_one_room_are_one_scene(clips):
    table = with_scenes(clips).table
    scenes = table.groupby(["identity", clips.table["session"]])["session"].agg(set)
    assert scenes.map(len).eq(1).all()
    assert scenes["p0", "1"] == scenes["p0", "3"] == {"scene 001"}
    assert (table.groupby("identity")["session"].nunique().drop("p0") == 4).all()
    assert (table.drop(columns="session") == clips.table.drop(columns="session")).all(axis=None)


def test_copies_are_one_scene_and_tight_crops_are_told(clips):
    table = clips.table
    table[["x1", "y1", "x2", "y2"]] = [0.0, 0.0, 64.0, 64.0]
    copy = clips.folder / "p3_2_0.png"
    copy.write_bytes((clips.folder / "p3_0_1.png").read_bytes())
    tight = Dataset(clips.folder, table)
    with pytest.warns(UserWarning, match="36 of 36 sittings show too little around the faces"):
        found = with_scenes(tight).table
    scenes = found.groupby(["identity", clips.table["session"]])["session"].first()
    assert scenes["p3"].tolist() == ["scene 000", "scene 001", "scene 000", "scene 002"]
    assert (scenes.groupby("identity").nunique().drop("p3") == 4).all()


def test_photos_without_sessions_are_sittings_and_people_without_names_stay(clips):
    table = clips.table.assign(session="")
    table.loc[:7, "identity"] = ""
    unknown = Dataset(clips.folder, table)
    found = with_scenes(unknown).table
    assert (found["session"][:8] == "").all() and (found["session"][8:] != "").all()
    scenes = found[8:].groupby(["identity", clips.table["session"][8:]])["session"].agg(set)
    assert scenes.map(len).eq(1).all()  # two photos of one clip are of one scene
    assert surroundings(unknown, unknown.photos[:2]).seen.any()
