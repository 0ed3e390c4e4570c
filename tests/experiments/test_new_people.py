"""Who is new to a net, and which photos of them it is given."""

import dataclasses
from collections import Counter

import pytest
from conftest import face

from thesislib.data.schema import DatasetError, read_dataset
from thesislib.engine.embed import annotated_faces
from thesislib.experiments.config import Config
from thesislib.experiments.new_people import few_photos, new_people
from thesislib.profiles import get_profile


@pytest.fixture
def source(couples):
    return Config(couples, get_profile("smoke"))


@pytest.fixture
def target(write_dataset):
    """Three people of ten photos, alone, one of three, and a stranger beside some of them."""
    rows = [face(f"{who}{at}.png", who) for who in ("eva", "0", "nan") for at in range(10)]
    rows += [face(f"few{at}.png", "few") for at in range(3)]
    rows += [face(f"eva{at}.png", "", (25, 4, 45, 24)) for at in range(3)]
    rows += [face(f"0{at}.png", "few", (25, 4, 45, 24)) for at in range(3)]
    return write_dataset(rows, "target")


def shown(dataset):
    """Number of photos of each person."""
    faces = annotated_faces(dataset)
    return Counter(faces["identity"][faces["identity"] != ""])


def test_who_has_enough_photos_takes_part(source, target):
    found = new_people(source, target, at_least=6)
    assert found.identities == ["0", "eva", "nan"]
    assert found.train.identities == found.test.identities == found.identities
    assert min(shown(found.train).values()) >= 6
    assert not set(found.train.photos) & set(found.test.photos)
    whole = read_dataset(target)
    assert shown(found.train) + shown(found.test) == {
        name: count for name, count in shown(whole).items() if name != "few"
    }
    beside = annotated_faces(found.train).groupby("photo").size()
    assert beside.max() == 2  # others in the photos are there, without a name


def test_people_of_the_source_are_no_new_people(source):
    with pytest.raises(DatasetError, match=r"'001' is in .* too; the people of a transfer"):
        new_people(source, source.data, 2)


def test_too_few_photos_are_named(source, target):
    with pytest.raises(DatasetError, match="0 people have 50 training photos"):
        new_people(source, target, 50)


def test_the_split_is_by_the_seed_of_the_source(source, target):
    one, other = (
        new_people(dataclasses.replace(source, seed=seed), target, 2).test.photos for seed in (0, 1)
    )
    assert one != other


@pytest.mark.parametrize("alone", [True, False])
def test_a_larger_number_holds_the_photos_of_a_smaller(source, target, couples, alone):
    people = new_people(source, target, 8) if alone else None
    dataset = people.train if people else read_dataset(couples)
    known = set(dataset.identities)
    chosen = {}
    for count in (1, 2, 4):
        few = few_photos(dataset, count, seed=1)
        # Of a photo of several people, those who have enough already are not named.
        assert shown(few) == dict.fromkeys(known, count)
        faces = annotated_faces(few)
        named = faces[faces["identity"] != ""]
        chosen[count] = set(zip(named["photo"], named["identity"], strict=True))
        assert few.photos == [photo for photo in dataset.photos if photo in set(named["photo"])]
    assert chosen[1] < chosen[2] < chosen[4]
    assert few_photos(dataset, 2, seed=2).photos != few_photos(dataset, 2, seed=1).photos
