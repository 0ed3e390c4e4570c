"""Who is kept unseen, and whose embeddings are measured together."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from conftest import NO_BOX, face

from thesislib import paths
from thesislib.data import scenes
from thesislib.data.schema import DatasetError, read_dataset
from thesislib.engine.embed import annotated_faces, embed
from thesislib.experiments.config import Config
from thesislib.experiments.groups import Group, one_per_scene, people, scenes_of
from thesislib.profiles import get_profile


@pytest.fixture
def config(write_dataset, tmp_path, monkeypatch):
    """Sixteen people of eight photos in four sessions."""
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(scenes, "CHANCE", 0.0)  # of noise none is of one scene
    rows = [
        face(f"p{who:02}_{at}.png", f"p{who:02}", session=str(at // 2))
        for who in range(16)
        for at in range(8)
    ]
    return Config(write_dataset(rows), get_profile("smoke"), "identity")


def test_unseen_people_are_in_no_other_part_and_photos_of_the_seen_are_kept(config):
    parts = people(config)
    unseen, seen, train = parts.unseen, parts.seen, parts.train
    assert len(unseen.identities) == 4
    assert not set(unseen.identities) & set(train.identities)
    assert seen.identities == train.identities and len(train.identities) == 12
    photos = [set(part.photos) for part in (unseen, seen, train)]
    assert sum(map(len, photos)) == len(set().union(*photos)) == 128
    assert dict(parts.split.groupby("part").size()) == {
        "train": len(train.photos),
        "seen": len(seen.photos),
        "unseen": 32,
    }
    other = people(dataclasses.replace(config, seed=1))
    assert other.unseen.identities != unseen.identities


def test_a_tuning_run_reads_nobody_who_is_kept_for_the_test(config):
    whole, tuning = people(config), people(dataclasses.replace(config, holdout=True))
    allowed = set(whole.train.photos)
    for part in (tuning.train, tuning.seen, tuning.unseen):
        assert part.photos and set(part.photos) <= allowed
    assert not set(tuning.unseen.identities) & set(tuning.train.identities)


def test_people_who_share_photos_are_kept_together(couples):
    parts = people(Config(couples, get_profile("smoke"), "identity"))
    assert len(parts.unseen.identities) == 4
    assert not set(parts.unseen.identities) & set(parts.train.identities)
    names = parts.dataset.identities
    assert {"001", "NA", "Анна Ким", "None", "True", "1e5"} <= set(names) and len(names) == 16


def test_people_who_cannot_be_parted_are_told(party):
    with pytest.raises(DatasetError, match="needs at least two people"):
        people(Config(party, get_profile("smoke"), "identity"))


def test_people_of_one_photo_are_all_told_whoever_is_drawn(write_dataset):
    rows = [face(f"p{who}_{at}.png", f"p{who}") for who in range(8) for at in range(1 + who % 2)]
    with pytest.raises(DatasetError, match="p0, p2, p4, p6 have one photo"):
        people(Config(write_dataset(rows), get_profile("smoke"), "identity"))


def test_a_group_has_the_known_faces_of_photos_of_several(write_dataset):
    rows = [
        face("b.png", "", (25, 4, 45, 24)),
        face("b.png", "anna"),
        face("c.png", ""),
        face("d.png", "", NO_BOX),
        face("a.png", "NA", session="1"),
        face("b.png", "001", (5, 8, 20, 30)),
        face("e.png", "001", session="2"),
    ]
    dataset = read_dataset(write_dataset(rows))
    group = Group.of(dataset)
    assert group.dataset.photos == ["b.png", "a.png", "e.png"]
    assert group.identities.tolist() == ["anna", "001", "NA", "001"]
    assert group.sessions.tolist() == ["", "", "1", "2"]
    assert group.place.tolist() == [1, 2, 3, 4]
    chosen = group.select(np.array([False, True, True, False]))
    assert chosen.identities.tolist() == ["001", "NA"] and chosen.place.tolist() == [2, 3]
    assert chosen.faces.index.tolist() == [0, 1]

    class Left:
        """Gives a face the left edge of its box for an embedding."""

        def embeddings_at(self, photos, boxes):
            return [of_photo[:, :1] for of_photo in boxes]

    found = embed(Left(), group.dataset)[group.place]
    assert found[:, 0].tolist() == group.faces["x1"].tolist() == [5, 5, 5, 5]
    everybody = embed(Left(), group.dataset)
    assert everybody[:, 0].tolist() == annotated_faces(group.dataset)["x1"].tolist()


def test_one_face_per_scene(config):
    group = Group.of(people(config).unseen)
    apart = group.select(one_per_scene(group)).faces
    assert len(apart) == 4 * 4
    assert not apart.duplicated(["identity", "session"]).any()
    first = group.faces.groupby(["identity", "session"], sort=False)["photo"].first()
    assert apart["photo"].tolist() == first.tolist()
    embedded = np.arange(len(group.faces)) >= 5
    later = group.faces[5:].groupby(["identity", "session"], sort=False)["photo"].first()
    assert group.select(one_per_scene(group, embedded)).faces["photo"].tolist() == later.tolist()


def test_no_scene_of_people_seen_is_learned_and_two_are_kept(config):
    parts = people(config)
    scenes = [
        set(part.table.groupby(["identity", "session"]).groups)
        for part in (parts.seen, parts.train)
    ]
    assert not scenes[0] & scenes[1]
    kept = pd.Series(sorted(scenes[0])).str[0].value_counts()
    assert len(kept) == 12 and (kept == 2).all()


def test_whoever_has_one_scene_is_learned_alone_and_of_two_one_is_kept(config, write_dataset):
    counts = {f"p{at}": (1 if at < 4 else 2) for at in range(16)}
    rows = [
        face(f"{who}_{clip}_{at}.png", who, session=str(clip))
        for who, clips in counts.items()
        for clip in range(clips)
        for at in range(3)
    ]
    parts = people(dataclasses.replace(config, data=write_dataset(rows, "few")))
    once = {who for who in parts.train.identities if counts[who] == 1}
    assert once and not once & set(parts.seen.identities)
    kept = parts.seen.table.groupby("identity")["session"].nunique()
    assert (kept == 1).all() and set(kept.index) == set(parts.train.identities) - once


def test_no_scene_is_on_both_sides_where_photos_show_somebody_of_one_scene(config, write_dataset):
    rows = []
    for who in range(12):
        for clip in range(3):
            rows += [face(f"p{who}_{clip}_{at}.png", f"p{who}", session=str(clip)) for at in (0, 1)]
        guest = face(f"p{who}_2_0.png", f"guest{who}", (28, 4, 46, 24), session="once")
        rows += [guest, face(f"alone{who}.png", f"guest{who}", session="once")]
    parts = people(dataclasses.replace(config, data=write_dataset(rows, "guests")))
    told = parts.split.merge(parts.dataset.table, on="photo")
    sides = told.groupby(["identity", "session"])["part"].nunique()
    assert (sides == 1).all() and len(parts.seen.identities) > 4
    assert not any(name.startswith("guest") for name in parts.seen.identities)


def test_where_nobody_has_two_scenes_it_is_told(config, write_dataset):
    rows = [face(f"p{who}_{at}.png", f"p{who}", session="1") for who in range(8) for at in range(3)]
    with pytest.raises(DatasetError, match="nobody was photographed in two scenes"):
        people(dataclasses.replace(config, data=write_dataset(rows, "one scene")))


def test_scenes_are_found_once(config, monkeypatch):
    dataset = read_dataset(config.data)
    first = scenes_of(dataset).table

    def never(*_):
        raise AssertionError("looked again")

    monkeypatch.setattr("thesislib.experiments.groups.with_scenes", never)
    pd.testing.assert_frame_equal(scenes_of(dataset).table, first)
    assert (first["session"] != "").all()
