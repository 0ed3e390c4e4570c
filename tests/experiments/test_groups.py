"""Who is kept unseen, and whose embeddings are measured together."""

import dataclasses

import numpy as np
import pytest
from conftest import NO_BOX, face

from thesislib import paths
from thesislib.data.schema import DatasetError, read_dataset
from thesislib.engine.embed import annotated_faces, embed
from thesislib.experiments.config import Config
from thesislib.experiments.groups import Group, as_few_as_seen, one_per_session, people
from thesislib.profiles import get_profile


@pytest.fixture
def config(write_dataset, tmp_path, monkeypatch):
    """Sixteen people of six photos in two sessions."""
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    rows = [
        face(f"p{who:02}_{at}.png", f"p{who:02}", session=str(at // 3))
        for who in range(16)
        for at in range(6)
    ]
    return Config(write_dataset(rows), get_profile("smoke"), "identity")


def test_unseen_people_are_in_no_other_part_and_photos_of_the_seen_are_kept(config):
    parts = people(config)
    unseen, seen, train = parts.unseen, parts.seen, parts.train
    assert len(unseen.identities) == 4
    assert not set(unseen.identities) & set(train.identities)
    assert seen.identities == train.identities and len(train.identities) == 12
    photos = [set(part.photos) for part in (unseen, seen, train)]
    assert sum(map(len, photos)) == len(set().union(*photos)) == 96
    assert dict(parts.split.groupby("part").size()) == {
        "train": len(train.photos),
        "seen": len(seen.photos),
        "unseen": 24,
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


def test_one_face_per_session(config):
    group = Group.of(people(config).unseen)
    apart = group.select(one_per_session(group)).faces
    assert len(apart) == 4 * 2
    assert not apart.duplicated(["identity", "session"]).any()
    first = group.faces.groupby(["identity", "session"], sort=False)["photo"].first()
    assert apart["photo"].tolist() == first.tolist()


def test_people_unseen_are_also_shown_with_as_few_photos_as_those_seen(config):
    parts = people(config)
    unseen = Group.of(parts.unseen)
    chosen = as_few_as_seen(unseen, config.seed)
    few = unseen.select(chosen)
    assert set(few.identities) == set(unseen.identities) and chosen.sum() < len(chosen)
    seen = Group.of(parts.seen).faces.groupby("identity").size().mean()
    assert abs(few.faces.groupby("identity").size().mean() - seen) < 0.5
    assert (chosen == as_few_as_seen(unseen, config.seed)).all()
