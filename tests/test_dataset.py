"""A folder that breaks the form is refused with its row, and no split leaks."""

import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from conftest import NO_BOX, face, noise
from PIL import Image

from thesislib.data.columns import BOX, LANDMARKS
from thesislib.data.schema import COLUMNS, DatasetError, read_dataset, subset, write_annotations
from thesislib.data.splits import SPLIT_KINDS, check_split, make_split

GOOD = [face("photos/1.png"), face("photos/2.png", "boris"), face("photos/3.png", box=NO_BOX)]
GOOD[2]["identity"] = ""


def refusal(folder):
    with pytest.raises(DatasetError) as caught:
        read_dataset(folder)
    message = str(caught.value)
    assert str(folder) in message
    return message


def text_of(folder):
    return (folder / "annotations.csv").read_text(encoding="utf-8")


def rewrite(folder, old, new):
    text = text_of(folder)
    assert text.count(old) == 1
    (folder / "annotations.csv").write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def good(write_dataset):
    return write_dataset(GOOD)


# Read


def test_a_good_dataset_is_read_as_written(good):
    data = read_dataset(good)
    assert data.folder == good and data.name == "people"
    assert data.table.columns.tolist() == COLUMNS
    assert data.photos == ["photos/1.png", "photos/2.png", "photos/3.png"]
    assert data.identities == ["anna", "boris"]
    assert data.table[BOX].to_numpy()[:2].tolist() == [[5, 4, 25, 24]] * 2
    assert data.table[BOX].iloc[2].isna().all()
    assert data.table["width"].tolist() == [48] * 3


def test_unknown_people_empty_photos_and_several_people_are_accepted(write_dataset):
    rows = [
        face("a.png"),
        face("a.png", "boris", (20, 10, 40, 30)),
        face("a.png", "", (1, 1, 9, 9)),
        face("a.png", "", (30, 1, 39, 9)),
        face("b.png", "", NO_BOX),
    ]
    data = read_dataset(write_dataset(rows))
    assert data.photos == ["a.png", "b.png"]
    assert data.identities == ["anna", "boris"]
    assert data.table["identity"].tolist() == ["anna", "boris", "", "", ""]


def test_names_that_look_like_something_else_stay_names(write_dataset):
    rows = [face("Анна Б/лето 1.png", "NA"), face("007.png", "007"), face("n.png", "null")]
    data = read_dataset(write_dataset(rows))
    assert data.identities == ["007", "NA", "null"]
    assert data.photos[0] == "Анна Б/лето 1.png"


def test_a_byte_order_mark_and_any_order_of_columns_are_accepted(good):
    table = pd.read_csv(good / "annotations.csv")[COLUMNS[::-1]]
    table.to_csv(good / "annotations.csv", index=False, encoding="utf-8-sig")
    assert (good / "annotations.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert read_dataset(good).table["identity"].tolist() == ["anna", "boris", ""]


def test_a_box_sticking_out_slightly_is_clipped(write_dataset):
    # 20 px wide and high: 15 % of it, 3 px, may lie outside.
    rows = [face("1.png", box=(-3, -3, 17, 17)), face("2.png", box=(31, 15, 51, 35))]
    boxes = read_dataset(write_dataset(rows)).table[BOX].to_numpy()
    assert boxes.tolist() == [[0, 0, 17, 17], [31, 15, 48, 32]]


@pytest.mark.parametrize(
    "box", [(-3.1, 4, 16.9, 24), (5, -3.1, 25, 16.9), (31.1, 4, 51.1, 24), (5, 15.1, 25, 35.1)]
)
def test_a_box_outside_the_photo_is_refused(write_dataset, box):
    message = refusal(write_dataset([face("1.png"), face("2.png", box=box)]))
    assert "row 3 (2.png): box" in message and "lies outside the photo (48 x 32)" in message


@pytest.mark.parametrize("box", [(25, 4, 5, 24), (5, 24, 25, 4), (5, 4, 5, 24), (5, 4, 25, 4)])
def test_an_inverted_or_empty_box_is_refused(write_dataset, box):
    message = refusal(write_dataset([face("1.png"), face("2.png", box=box)]))
    assert "row 3 (2.png): box is inverted or empty" in message


def test_a_partial_box_is_refused(write_dataset):
    message = refusal(write_dataset([face("1.png", box=(5, 4, 25, None))]))
    assert "row 2 (1.png): box has only some of its four numbers" in message


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    assert "no such folder" in refusal(tmp_path / "none")


def test_a_folder_without_annotations_is_refused(tmp_path):
    message = refusal(tmp_path)
    assert "no annotations.csv" in message and "data/README.md" in message


@pytest.mark.parametrize("content", [b"", b'photo,"identity\n1.png,a\n', b"photo\n\xc0\n"])
def test_what_is_no_csv_is_refused(good, content):
    (good / "annotations.csv").write_bytes(content)
    assert "annotations.csv: cannot be read as CSV" in refusal(good)


@pytest.mark.parametrize("column", COLUMNS)
def test_a_missing_column_is_named(good, column):
    table = pd.read_csv(good / "annotations.csv").drop(columns=column)
    table.to_csv(good / "annotations.csv", index=False)
    assert f"annotations.csv, row 1: missing column '{column}'; expected" in refusal(good)


def test_an_extra_column_is_named(good):
    pd.read_csv(good / "annotations.csv").assign(age=3).to_csv(good / "annotations.csv")
    assert "row 1: extra column 'Unnamed: 0', extra column 'age'" in refusal(good)


def with_columns(good, **columns):
    table = pd.read_csv(good / "annotations.csv")
    table.assign(**columns).to_csv(good / "annotations.csv", index=False)


def test_landmarks_factors_and_the_source_of_boxes_may_be_added(good):
    points = {name: [1.5, 2.0, np.nan] for name in LANDMARKS}
    source = ["annotation", " detector", ""]
    with_columns(good, **points, factor_yaw=[-3.25, np.nan, 0], box_source=source)
    table = read_dataset(good).table
    assert list(table) == [*COLUMNS, *LANDMARKS, "factor_yaw", "box_source"]
    assert table["factor_yaw"].tolist()[::2] == [-3.25, 0]
    assert table["box_source"].tolist() == ["annotation", "detector", ""]
    write_annotations(good, table)
    pd.testing.assert_frame_equal(read_dataset(good).table, table)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"left_eye_x": 1.0, "left_eye_y": 2.0}, "row 1: missing column 'right_eye_x'"),
        ({"factor_yaw": ["1", "left", "2"]}, "row 3: factor_yaw is 'left', no number"),
        ({"factor_Yaw": 1.0}, "row 1: extra column 'factor_Yaw'"),
        ({"box_source": ["annotation", "guess", ""]}, "row 3: box_source is 'guess', fails"),
        (
            dict.fromkeys(LANDMARKS, 3.0) | {"nose_y": [1.0, None, 2.0]},
            "row 3 (photos/2.png): only some of the 10 landmark numbers",
        ),
    ],
)
def test_further_columns_that_break_the_form_are_named(good, columns, told):
    with_columns(good, **columns)
    assert told in refusal(good)


def test_no_rows_are_refused(good):
    (good / "annotations.csv").write_text(",".join(COLUMNS) + "\n")
    assert "annotations.csv: no rows" in refusal(good)


def test_no_faces_at_all_are_refused(write_dataset):
    message = refusal(write_dataset([face("1.png", "", NO_BOX), face("2.png", "", NO_BOX)]))
    assert "no faces at all" in message


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("width", "wide"),
        ("width", "48.5"),
        ("width", ""),
        ("width", "nan"),
        ("height", "inf"),
        ("x1", "left"),
        ("y2", "nan"),
        ("x2", "-inf"),
        ("y1", '"4,0"'),
    ],
)
def test_text_or_a_fraction_where_a_number_belongs_is_refused(good, column, value):
    lines = text_of(good).splitlines()
    fields = lines[2].split(",")
    fields[COLUMNS.index(column)] = value
    lines[2] = ",".join(fields)
    (good / "annotations.csv").write_text("\n".join(lines) + "\n")
    value = value.strip('"')
    assert f"annotations.csv, row 3: {column} is '{value}', no number" in refusal(good)


@pytest.mark.parametrize("column", ["width", "height"])
def test_a_size_below_one_pixel_is_refused(good, column):
    rewrite(good, "boris,,48,32", "boris,,0,32" if column == "width" else "boris,,48,0")
    message = refusal(good)
    assert f"annotations.csv, row 3: {column} is" in message and "greater_than" in message


def test_an_empty_photo_name_is_refused(good):
    rewrite(good, "photos/2.png", "")
    assert "annotations.csv, row 3: photo is ''" in refusal(good)


@pytest.mark.parametrize(
    "photo",
    ["/photos/2.png", "../2.png", "a/../2.png", r"photos\2.png", "photos/./2.png", "photos//2.png"],
)
def test_a_photo_outside_the_folder_is_refused(good, photo):
    rewrite(good, "photos/2.png", photo)
    message = refusal(good)
    assert f"row 3 ({photo}): photo must be a plain relative path inside the dataset" in message


def test_two_sizes_for_one_photo_are_refused(write_dataset):
    rows = [face("1.png"), face("1.png", "boris", (1, 1, 9, 9), width=49)]
    assert "row 3 (1.png): width and height differ" in refusal(write_dataset(rows))


def test_an_identity_without_a_box_is_refused(write_dataset):
    message = refusal(write_dataset([face("1.png"), face("2.png", "boris", NO_BOX)]))
    assert "row 3 (2.png): identity 'boris' without a box" in message


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (
            [face("1.png"), face("1.png", box=(1, 1, 9, 9))],
            "row 3 (1.png): same photo twice with the same identity 'anna' (row 2)",
        ),
        (
            [face("1.png"), face("1.png", "")],
            "row 3 (1.png): same photo twice with the same box (row 2)",
        ),
        (
            [face("0.png"), face("1.png", "", NO_BOX), face("1.png", "", NO_BOX)],
            "row 4 (1.png): same photo twice (row 3)",
        ),
        (
            [face("1.png"), face("1.png", "", NO_BOX)],
            "row 3 (1.png): row without a box, but another has one",
        ),
        (
            [face("1.png", "", NO_BOX), face("1.png")],
            "row 2 (1.png): row without a box, but another has one",
        ),
    ],
)
def test_the_same_photo_twice_is_refused(write_dataset, rows, told):
    assert told in refusal(write_dataset(rows))


def test_a_missing_photo_is_told_with_its_row(good):
    (good / "photos/2.png").unlink()
    message = refusal(good)
    assert "annotations.csv, row 3" in message and "photos/2.png: photo is missing" in message


def test_an_empty_photo_is_told_with_its_row(good):
    (good / "photos/2.png").write_bytes(b"")
    message = refusal(good)
    assert "annotations.csv, row 3" in message and "photos/2.png: photo is empty" in message


def test_a_photo_that_is_no_image_is_told_with_its_row(good):
    (good / "photos/3.png").write_bytes(b"text")
    message = refusal(good)
    assert "annotations.csv, row 4" in message and "photos/3.png: not an image" in message


def test_a_photo_of_another_size_is_told_with_its_row(good):
    Image.fromarray(noise(48, 32)).save(good / "photos/2.png")
    message = refusal(good)
    assert "row 3 (photos/2.png): the table says 48 x 32, the photo is 32 x 48" in message


def test_more_fields_than_columns_are_refused(good):
    text = text_of(good).rstrip().splitlines()
    (good / "annotations.csv").write_text("\n".join([text[0]] + [line + "," for line in text[1:]]))
    assert "annotations.csv, row 2" in refusal(good)


def test_fewer_fields_than_columns_are_refused(good):
    text = (good / "annotations.csv").read_text()
    (good / "annotations.csv").write_text(text + "photos/3.png,,,48,32\n")
    row = text.count("\n") + 2 - text.endswith("\n")
    assert f"row {row}: fewer fields than row 1 has columns" in refusal(good)


def test_a_blank_line_does_not_shift_the_rows_that_messages_name(good):
    rewrite(good, "photos/2.png,boris,,48", "\nphotos/2.png,boris,,wide")
    assert re.search(r"row 3: width is ''|row 4: width is 'wide'", refusal(good))


def test_blank_lines_at_the_end_are_nothing(good):
    (good / "annotations.csv").write_text(text_of(good) + "\n\n")
    assert len(read_dataset(good).table) == 3


# Written


def test_what_is_written_is_read_back(good):
    data = read_dataset(good)
    table = data.table.copy()
    table.loc[0, BOX] = [1.26, 2.0, 20.34, 21.99]
    write_annotations(good, table.assign(extra=1))
    again = read_dataset(good).table
    assert again.loc[0, BOX].tolist() == [1.3, 2.0, 20.3, 22.0]
    pd.testing.assert_frame_equal(again.drop(index=0), data.table.drop(index=0))


def test_a_failed_write_leaves_the_old_annotations(good, monkeypatch):
    before, table = text_of(good), read_dataset(good).table

    def fail(self, path, **options):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    with pytest.raises(OSError, match="No space left"):
        write_annotations(good, table)
    assert text_of(good) == before
    assert sorted(path.name for path in good.iterdir()) == ["annotations.csv", "photos"]


def test_the_content_hash_changes_with_any_photo_and_any_annotation(good):
    first = read_dataset(good).content_hash
    assert read_dataset(good).content_hash == first
    Image.fromarray(noise(32, 48, seed=50)).save(good / "photos/3.png")
    second = read_dataset(good).content_hash
    rewrite(good, "boris", "berta")
    assert len({first, second, read_dataset(good).content_hash}) == 3


def test_a_subset_keeps_rows_and_order(good):
    part = subset(read_dataset(good), {"photos/3.png", "photos/1.png"})
    assert part.photos == ["photos/1.png", "photos/3.png"]
    assert part.table.index.tolist() == [0, 1] and part.folder == good


# Split


def rows_of(counts, sessions=1):
    """``counts`` photos a person, dealt over that many sessions each."""
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


@pytest.mark.parametrize("kind", ["photo", "session"])
def test_a_person_with_one_photo_or_session_is_named_with_a_row(write_dataset, kind):
    data = read_dataset(write_dataset(rows_of({"a": 4, "b": 1 if kind == "photo" else 4})))
    if kind == "session":
        data.table.loc[:3, "session"] = ["s0", "s1", "s2", "s3"]
    with pytest.raises(DatasetError, match=f"row 6: 'b' has one {kind}; a split by {kind}") as told:
        make_split(data, kind, 0)
    assert str(data.folder / "annotations.csv") in str(told.value)


def test_a_session_split_without_sessions_is_refused(write_dataset):
    rows = [*rows_of({"a": 4}, sessions=2), face("b/0.png", "b")]
    data = read_dataset(write_dataset(rows))
    with pytest.raises(DatasetError, match=re.escape("b/0.png has no session")):
        make_split(data, "session", 0)


def test_an_identity_split_of_one_person_is_refused(write_dataset):
    data = read_dataset(write_dataset(rows_of({"a": 4})))
    with pytest.raises(DatasetError, match="people: 1 people cannot be split into two parts"):
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
    with pytest.raises(DatasetError, match="1 people cannot be split"):
        make_split(data, "identity", 0)


def test_photos_nobody_known_is_in_are_split_too(write_dataset):
    rows = [*rows_of({"a": 6}), *(face(f"u/{at}.png", "", NO_BOX) for at in range(12))]
    data = read_dataset(write_dataset(rows))
    for seed in range(5):
        split = make_split(data, "photo", seed)
        tested = split["photo"][split["part"] == "test"].str.startswith("u/").sum()
        assert tested == 2


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


def test_a_photo_on_both_sides_on_none_or_of_elsewhere_is_refused(people):
    split = make_split(people, "photo", 0)
    twice = pd.concat([split, split.head(1).assign(part="test"), split.head(1)])
    stranger = split.replace({"photo": {"p0/0.png": "q.png"}})
    for wrong in (twice, split.iloc[1:], stranger):
        with pytest.raises(DatasetError, match="photos are not those of the dataset, each once"):
            check_split(people, wrong, "photo")
