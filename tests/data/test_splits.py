"""A split is the same for the same seed, and nothing leaks from training to testing."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import NO_BOX, PARTY, face
from hypothesis import given
from hypothesis import strategies as st

from thesislib.data.schema import Dataset, DatasetError, read_dataset
from thesislib.data.splits import SPLIT_KINDS, check_split, make_split


def rows_of(counts, sessions=1):
    """``counts`` photos per person, dealt over that many sessions each."""
    return [
        face(f"{person}/{at}.png", person, session=f"s{at % sessions}")
        for person, count in counts.items()
        for at in range(count)
    ]


PEOPLE = {f"p{at}": 12 for at in range(8)}


@pytest.fixture
def people(write_dataset):
    return read_dataset(write_dataset(rows_of(PEOPLE, sessions=4)))


def parts(split):
    return dict(zip(split["photo"], split["part"], strict=True))


@pytest.mark.parametrize("kind", SPLIT_KINDS)
def test_the_same_seed_gives_the_same_split_and_another_seed_another(people, kind):
    first, again, other = (make_split(people, kind, seed) for seed in (3, 3, 4))
    pd.testing.assert_frame_equal(first, again)
    assert parts(first) != parts(other)
    assert first["photo"].tolist() == people.photos


def test_a_photo_split_takes_a_sixth_of_everybody(write_dataset):
    counts = {"a": 6, "b": 12, "c": 30, "d": 33}
    data = read_dataset(write_dataset(rows_of(counts)))
    shares = []
    for seed in range(40):
        split = make_split(data, "photo", seed)
        tested = Counter(photo.split("/")[0] for photo in split["photo"][split["part"] == "test"])
        for person, count in counts.items():
            assert abs(tested[person] - count / 6) < 1
            assert tested[person] >= 1
        shares.append(sum(tested.values()) / len(data.photos))
    assert np.mean(shares) == pytest.approx(1 / 6, abs=0.01)


def test_every_photo_is_tested_under_some_seed(write_dataset):
    data = read_dataset(write_dataset(rows_of({"a": 6, "b": 6})))
    splits = [make_split(data, "photo", seed) for seed in range(40)]
    tested = {photo for split in splits for photo in split["photo"][split["part"] == "test"]}
    assert tested == set(data.photos)


def test_a_session_split_parts_no_session_of_a_person(people):
    for seed in range(5):
        part = parts(make_split(people, "session", seed))
        sides = {}
        for row in people.table.itertuples():
            sides.setdefault((row.identity, row.session), set()).add(part[row.photo])
        assert all(len(found) == 1 for found in sides.values())
        for person in PEOPLE:
            both = set().union(*(found for key, found in sides.items() if key[0] == person))
            assert both == {"train", "test"}


def test_an_identity_split_parts_no_person(people):
    part = parts(make_split(people, "identity", 0, test_fraction=0.25))
    sides = {}
    for row in people.table.itertuples():
        sides.setdefault(row.identity, set()).add(part[row.photo])
    assert Counter(map(tuple, sides.values())) == {("train",): 6, ("test",): 2}


def refusal(data, kind):
    """What is said of people who cannot be on both sides, without the file's name in front."""
    with pytest.raises(DatasetError) as told:
        make_split(data, kind, 0)
    return str(told.value).removeprefix(f"{data.folder / 'annotations.csv'}: ")


def test_people_with_one_photo_are_all_named_with_what_leaves_them_out(write_dataset):
    one = read_dataset(write_dataset(rows_of({"a": 4, "b": 1}), "one"))
    assert refusal(one, "photo").startswith("b has one photo; a split by photo needs at least two")
    few = {f"p{at}": 1 for at in range(10)}
    several = read_dataset(write_dataset(rows_of({"a": 4, **few}), "several"))
    told = refusal(several, "photo")
    assert told.startswith("p0, p1, p2, p3, p4, p5, p6, p7 and 2 more have one photo; a split")
    assert "`python -m thesislib data ... --min-photos 2` leaves such people out" in told


def test_where_everybody_has_one_photo_leaving_out_is_no_advice(write_dataset):
    told = refusal(read_dataset(write_dataset(rows_of({"a": 1, "b": 1}))), "photo")
    assert told.startswith("everybody who is named has one photo; ")
    assert "min-photos" not in told and "`python -m thesislib train` learns them" in told


def test_people_whose_photos_are_all_equal_are_told_why(write_dataset):
    rows = rows_of({"a": 3, "b": 2})
    told = refusal(read_dataset(write_dataset(rows, equal=("b/0.png", "b/1.png"))), "photo")
    assert told.startswith("b has one photo (equal ones count once); ")


def test_people_with_one_session_are_all_named(write_dataset):
    data = read_dataset(write_dataset(rows_of({"a": 4, "b": 4, "c": 4})))
    data.table.loc[:3, "session"] = ["s0", "s1", "s2", "s3"]
    told = refusal(data, "session")
    assert told.startswith("b, c have one session; a split by session needs at least two")
    assert told.endswith("or split by photo") and "min-photos" not in told


def test_a_session_split_without_sessions_is_refused(write_dataset):
    rows = [*rows_of({"a": 4}, sessions=2), face("b/0.png", "b")]
    data = read_dataset(write_dataset(rows))
    with pytest.raises(DatasetError, match=re.escape("b/0.png has no session")):
        make_split(data, "session", 0)


def test_an_identity_split_of_one_person_is_refused(write_dataset):
    data = read_dataset(write_dataset(rows_of({"a": 4})))
    with pytest.raises(DatasetError, match="people: a split by identity needs at least two people"):
        make_split(data, "identity", 0)


def test_an_unknown_kind_of_split_is_refused(people):
    with pytest.raises(DatasetError, match="split 'random' is unknown; choose one of photo, ses"):
        make_split(people, "random", 0)


@pytest.mark.parametrize("kind", SPLIT_KINDS)
def test_byte_equal_photos_stay_together(write_dataset, kind):
    rows = rows_of({"a": 8, "b": 8, "c": 8}, sessions=4)
    equal = ("a/0.png", "a/1.png", "a/5.png")
    data = read_dataset(write_dataset(rows, equal=equal))
    assert len(set(data.photo_hashes.values())) == 22
    tested = 0
    for seed in range(12):
        part = parts(make_split(data, kind, seed))
        assert len({part[photo] for photo in equal}) == 1
        tested += part[equal[0]] == "test"
    assert 0 < tested < 12


@pytest.mark.parametrize("kind", ["photo", "session"])
def test_photos_of_several_people_leave_everybody_something_to_train_on(write_dataset, kind):
    rows = []
    rng = np.random.default_rng(0)
    for at in range(24):
        for place, person in enumerate(rng.permutation(6)[:3]):
            box = (1 + 15 * place, 2, 13 + 15 * place, 20)
            rows.append(face(f"{at:02}.png", f"p{person}", box, session=f"day{at // 2}"))
    data = read_dataset(write_dataset(rows))
    for seed in range(10):
        part = parts(make_split(data, kind, seed))
        sides = {}
        for row in data.table.itertuples():
            sides.setdefault(row.identity, set()).add(part[row.photo])
        assert all("train" in found for found in sides.values())


def test_nobody_is_left_untrained_when_their_photos_are_taken_for_others(write_dataset):
    right = (26, 4, 46, 24)
    rows = [
        *(face("0.png", "a"), face("0.png", "b", right), face("1.png", "b")),
        *(face("1.png", "c", right), face("2.png", "a"), face("3.png", "c")),
    ]
    data = read_dataset(write_dataset(rows))
    for seed in range(20):
        part = parts(make_split(data, "photo", seed))
        assert {part["0.png"], part["1.png"]} != {"test"}


def test_photos_that_join_everybody_cannot_be_split_by_identity(write_dataset):
    rows = []
    for at in range(4):
        rows += [face(f"{at}.png", f"p{at}"), face(f"{at}.png", f"p{at + 1}", (26, 4, 46, 24))]
    data = read_dataset(write_dataset(rows))
    with pytest.raises(DatasetError, match="groups of people who share photos; here is 1"):
        make_split(data, "identity", 0)


def test_of_people_who_share_photos_as_many_are_tested_as_of_others(write_dataset):
    """A large group is not drawn where smaller ones come nearer to the share."""
    groups = [[f"a{at}" for at in range(6)], ["b", "c"], ["d", "e"], ["f"], ["g"]]
    rows = [
        face(f"{group[0]}/{shot}.png", person, (place * 8, 2, place * 8 + 7, 12))
        for group in groups
        for shot in range(2)
        for place, person in enumerate(group)
    ]
    data = read_dataset(write_dataset(rows))
    tested = set()
    for seed in range(12):
        split = make_split(data, "identity", seed, test_fraction=1 / 4)
        people = people_of(data, set(split["photo"][split["part"] == "test"]))
        assert len(people) in (2, 3)
        tested |= people
    assert tested == set("bcdefg")
    halves = read_dataset(write_dataset([row for row in rows if row["photo"][0] in "ab"], "two"))
    split = make_split(halves, "identity", 0, test_fraction=0.1)
    assert people_of(halves, set(split["photo"][split["part"] == "test"])) == {"b", "c"}


def test_photos_nobody_known_is_in_are_split_too(write_dataset):
    rows = [*rows_of({"a": 6}), *(face(f"u/{at}.png", "", NO_BOX) for at in range(12))]
    data = read_dataset(write_dataset(rows))
    for seed in range(5):
        split = make_split(data, "photo", seed)
        tested = split["photo"][split["part"] == "test"].str.startswith("u/").sum()
        assert tested == 2


# Any dataset, against loops

PEOPLE_OR_NOBODY = st.sampled_from(["", "001", "NA", "Анна Ким", "nan"])


@st.composite
def datasets(draw):
    """Up to twelve photos of any people in any sessions, some of them equal byte for byte."""
    rows, hashes = [], {}
    for at in range(draw(st.integers(1, 12))):
        photo = f"{at}.png"
        hashes[photo] = draw(st.integers(0, 30))
        session = draw(st.sampled_from(["1", "2", "3"]))
        people = draw(st.lists(PEOPLE_OR_NOBODY, max_size=3, unique=True))
        rows += [face(photo, name, session=session) for name in people]
        rows += [] if people else [face(photo, "", NO_BOX, session)]
    dataset = Dataset(Path("people"), pd.DataFrame(rows))
    dataset.__dict__["photo_hashes"] = hashes  # what would be read from the disk
    return dataset


def people_of(dataset, photos):
    table = dataset.table
    return set(table["identity"][table["photo"].isin(photos)]) - {""}


def naive_units(dataset, kind):
    """Sets of photos to keep together, joined until no two share a photo."""
    groups = [{photo} for photo in dataset.photos]
    for photo in dataset.photos:
        equal = {p for p, h in dataset.photo_hashes.items() if h == dataset.photo_hashes[photo]}
        groups.append(equal)
    for _, rows in dataset.table[dataset.table["identity"] != ""].groupby(
        {"photo": ["photo", "identity"], "session": ["identity", "session"]}.get(kind, "identity")
    ):
        groups.append(set(rows["photo"]))
    while True:
        for one in groups:
            meeting = [other for other in groups if other is not one and other & one]
            if meeting:
                groups = [group for group in groups if group is not one and group not in meeting]
                groups.append(one.union(*meeting))
                break
        else:
            return groups


@given(
    datasets(), st.sampled_from(SPLIT_KINDS), st.integers(0, 9), st.sampled_from([0.1, 1 / 6, 0.6])
)
def test_any_dataset_is_split_without_a_leak_or_refused_with_reason(dataset, kind, seed, fraction):
    units = naive_units(dataset, kind)
    units_of = {
        person: [unit for unit in units if person in (people_of(dataset, unit) or {""})]
        for person in ["", *dataset.identities]
    }
    if kind == "identity":
        possible = sum(bool(people_of(dataset, unit)) for unit in units) > 1
    else:
        known = [len(units_of[person]) for person in dataset.identities]
        possible = min(known) > 1 if known else len(units_of[""]) > 1
    if not possible:
        with pytest.raises(DatasetError, match=r"needs at least two|needs a train part"):
            make_split(dataset, kind, seed, fraction)
        return
    split = make_split(dataset, kind, seed, fraction)
    pd.testing.assert_frame_equal(make_split(dataset, kind, seed, fraction), split)
    assert split["photo"].tolist() == dataset.photos
    train, test = (set(split["photo"][split["part"] == part]) for part in ("train", "test"))
    assert train and test
    assert all(unit <= train or unit <= test for unit in units)
    if kind == "identity":
        assert people_of(dataset, train) and people_of(dataset, test)
        assert not people_of(dataset, train) & people_of(dataset, test)
    else:
        assert people_of(dataset, train) == set(dataset.identities)
        if all(len(people_of(dataset, unit)) <= 1 for unit in units):
            assert people_of(dataset, test) == set(dataset.identities)


@pytest.mark.parametrize("kind", ["photo", "session"])
def test_a_party_is_split_with_everybody_to_train_on(party, kind):
    data = read_dataset(party)
    for seed in range(5):
        split = make_split(data, kind, seed)
        train = set(split["photo"][split["part"] == "train"])
        assert people_of(data, train) == set(PARTY)
        # Written and read again as experiments do, with names as text.
        split.to_csv(party / "split.csv", index=False)
        kept = pd.read_csv(party / "split.csv", dtype=str, keep_default_na=False)
        check_split(data, kept, kind)
    with pytest.raises(DatasetError, match="who share photos; here is 1"):
        make_split(data, "identity", 0)  # one photo shows all of them


# Leaks planted in good splits


@pytest.fixture
def planted(people):
    """Function that moves photos of a good split to a side and returns what the check says."""

    def plant(kind, move, side, of=people):
        split = make_split(people, kind, 0)
        check_split(of, split, kind)
        split.loc[split["photo"].isin(move(split)), "part"] = side
        with pytest.raises(DatasetError) as caught:
            check_split(of, split, kind)
        return str(caught.value)

    return plant


def first_of(part):
    return lambda split: split["photo"][split["part"] == part].head(1)


def test_a_session_on_both_sides_is_a_leak(planted):
    message = planted("session", first_of("test"), "train")
    assert re.search(r"split by session leaks: session s\d of p0 on both sides", message)


def test_a_person_on_both_sides_is_a_leak(planted):
    message = planted("identity", first_of("test"), "train")
    assert re.search(r"split by identity leaks: person p\d on both sides", message)


def test_a_person_tested_but_not_trained_on_is_a_leak(planted):
    for kind in ("photo", "session"):
        message = planted(kind, lambda split: split["photo"][:12], "test")
        assert message == f"split by {kind}: 'p0' is tested but not trained on"


def test_an_empty_part_is_refused(planted):
    for side in ("train", "test", "validation"):
        message = planted("photo", lambda split: split["photo"], side)
        assert message == "split: needs a train part and a test part, and no other"


def test_byte_equal_photos_on_both_sides_are_a_leak(write_dataset):
    data = read_dataset(write_dataset(rows_of({"a": 4}), equal=("a/0.png", "a/3.png")))
    split = pd.DataFrame({"photo": data.photos, "part": ["train", "train", "test", "test"]})
    with pytest.raises(DatasetError, match=r"by photo leaks: equal photos .* on both sides"):
        check_split(data, split, "photo")
    split["part"] = ["train", "test", "test", "train"]
    check_split(data, split, "photo")


def test_a_part_of_strangers_alone_is_no_split_by_identity(write_dataset):
    rows = [*rows_of({"a": 3, "b": 3}), face("u.png", ""), face("v.png", "", NO_BOX)]
    data = read_dataset(write_dataset(rows))
    for seed in range(6):  # that of strangers alone was drawn under one seed in two
        part = parts(make_split(data, "identity", seed))
        assert {part["a/0.png"], part["b/0.png"]} == {"train", "test"}
    split = pd.DataFrame({"photo": data.photos, "part": ["train"] * 6 + ["test"] * 2})
    with pytest.raises(DatasetError, match="nobody who is known is in the test part"):
        check_split(data, split, "identity")


def test_a_photo_on_both_sides_on_none_or_of_elsewhere_is_refused(people):
    split = make_split(people, "photo", 0)
    twice = pd.concat([split, split.head(1).assign(part="test"), split.head(1)])
    stranger = split.replace({"photo": {"p0/0.png": "q.png"}})
    for wrong in (twice, split.iloc[1:], stranger):
        with pytest.raises(DatasetError, match="photos are not those of the dataset, each once"):
            check_split(people, wrong, "photo")
