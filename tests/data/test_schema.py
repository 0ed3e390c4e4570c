"""A folder that breaks the form is refused with its row; names stay names."""

import dataclasses
import json
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import NO_BOX, PARTY, face, noise
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from thesislib.data.columns import BOX, LANDMARKS
from thesislib.data.names import plain_name
from thesislib.data.schema import (
    COLUMNS,
    SYNTHETIC_RECORD,
    DatasetError,
    check_named,
    check_rows,
    read_annotations,
    read_dataset,
    subset,
    write_annotations,
)
from thesislib.synthetic import sets
from thesislib.synthetic.spec import SyntheticSet

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


def test_a_party_is_read_with_everybody_in_it(party):
    for folder in (party, str(party)):
        data = read_dataset(folder)
        assert data.identities == [*PARTY]
        assert len(data.photos) == 14 and repr(data) == (
            "Dataset('party': 14 photos, 22 faces, 3 identities)"
        )
    assert set(data.table["session"]) == {"01", "02"}
    assert data.table.groupby("photo").size().max() == 3
    write_annotations(party, data.table)
    pd.testing.assert_frame_equal(read_dataset(party).table, data.table)


ODD_NAMES = ["001", "NA", "N/A", "nan", "NaN", "null", "None", "", "-", "1e5", "TRUE", "inf", "#"]
ODD_NAMES += ["Анна Ким", "李娜", "O'Hara, Ann", '"Bo"', "a;b", "=1+1", "２"]
NAMES = st.sampled_from(ODD_NAMES) | st.text(
    st.characters(exclude_categories=["Cc", "Cs"]), max_size=12
).map(plain_name)


@st.composite
def tables(draw):
    """Annotations of any names, sizes and boxes that the form allows."""
    rows = []
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    for at, session in enumerate(names):
        photo = f"photos/{at}" + re.sub(r"[/\\]|^\s|\s$", "_", session)
        width, height = draw(st.integers(1, 999)), draw(st.integers(1, 999))
        people = draw(st.lists(NAMES, max_size=4, unique=True))
        known = {"photo": photo, "session": session, "width": width, "height": height}
        for place, identity in enumerate(people):
            x1 = draw(st.integers(0, 10 * width - 1)) / 10
            box = (x1, place / 10, draw(st.integers(round(10 * x1) + 1, 10 * width)) / 10, 0.5)
            rows.append({**known, "identity": identity, **dict(zip(BOX, box, strict=True))})
        if not people:
            rows.append({**known, "identity": ""})
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({**dict.fromkeys(BOX, float), "width": int, "height": int})


@given(tables())
def test_any_table_of_the_form_is_read_as_written(table):
    with tempfile.TemporaryDirectory() as folder:
        if table["x1"].isna().all():
            with pytest.raises(DatasetError, match="no faces at all"):
                check_rows(Path("a.csv"), table)
            return
        check_rows(Path("a.csv"), table)
        write_annotations(folder, table)
        read = read_annotations(folder)
    for name in COLUMNS:
        column = read[name].tolist(), table[name].tolist()
        if name in BOX:
            np.testing.assert_array_equal(*column)
        else:
            assert column[0] == column[1]


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
    told = refusal(tmp_path / "no folder")
    assert "no such folder" in told and "DATA" not in told
    assert f"python -m thesislib data synthetic quick --to '{tmp_path}/no folder'" in told


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
    third = read_dataset(good)
    assert len({first, second, third.content_hash}) == 3
    renamed = third.table.assign(identity=third.table["identity"].replace("anna", "anne"))
    assert dataclasses.replace(third, table=renamed).content_hash not in (
        first, second, third.content_hash,
    )  # fmt: skip


# Private


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A set of portraits and one of scenes, as the generator leaves them."""
    folder = tmp_path_factory.mktemp("sets")
    for name, spec in {
        "portraits": SyntheticSet(people=2, photos=4, sessions=2, size=32, first_identity=7),
        "scenes": SyntheticSet(people=4, photos=2, sessions=0, size=32, seed=3),
    }.items():
        sets.make(folder / name, spec, workers=1, progress=False)
    return folder


@pytest.mark.parametrize("kind", ["portraits", "scenes"])
def test_what_the_generator_made_is_not_private_whatever_its_name(made, tmp_path, kind):
    folder = shutil.copytree(made / kind, tmp_path / "people")
    data = read_dataset(folder)
    assert data.private is False
    assert subset(data, data.photos[:2]).private is False


def test_a_name_does_not_make_people_synthetic(write_dataset):
    for name in ("synthetic", "synthetic-staff", "ytf"):
        assert read_dataset(write_dataset(GOOD, name)).private is True


def test_real_photos_beside_synthetic_ones_are_private(made, tmp_path):
    folder = shutil.copytree(made / "portraits", tmp_path / "synthetic")
    data = read_dataset(folder)
    Image.fromarray(noise(32, 48)).save(folder / "photos/anna.png")
    row = pd.DataFrame([face("photos/anna.png")])
    write_annotations(folder, pd.concat([data.table, row], ignore_index=True))
    mixed = read_dataset(folder)
    assert mixed.private is True
    assert subset(mixed, ["photos/anna.png"]).private is True


@pytest.mark.parametrize(
    "photo", ["photos/p0009/s1_01.jpg", "photos/p0006/s1_01.jpg", "photos/p0007/1.jpg"]
)
def test_photos_that_the_record_does_not_tell_of_are_private(made, write_dataset, photo):
    folder = write_dataset([face(photo)], "synthetic")
    shutil.copy(made / "portraits" / SYNTHETIC_RECORD, folder)
    assert read_dataset(folder).private is True


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"first_identity": 0, "people": "2"}', "null"])
def test_a_record_that_is_none_makes_nobody_synthetic(write_dataset, record):
    folder = write_dataset([face("photos/p0000/s1_01.jpg")])
    (folder / SYNTHETIC_RECORD).write_text(record)
    assert read_dataset(folder).private is True
    good = {"first_identity": 0, "people": 1, "photos": 1}
    (folder / SYNTHETIC_RECORD).write_text(json.dumps(good))
    assert read_dataset(folder).private is False
    (folder / SYNTHETIC_RECORD).write_text(json.dumps({**good, "photos": 0}))
    assert read_dataset(folder).private is True


# Cut down


def test_a_subset_keeps_rows_and_order(good):
    part = subset(read_dataset(good), {"photos/3.png", "photos/1.png"})
    assert part.photos == ["photos/1.png", "photos/3.png"]
    assert part.table.index.tolist() == [0, 1] and part.folder == good


# Names


def test_names_that_look_alike_are_one_persons(write_dataset):
    names = ["Андрей  Белый", "Андрей Белый", "\u200bАндрей\u00a0Белый "]
    rows = [face(f"photos/{at}.png", name) for at, name in enumerate(names)]
    for row in rows:
        row["session"] = " may\u00a01 "
    folder = write_dataset(rows)
    table = read_dataset(folder).table
    assert set(table["identity"]) == {"Андрей Белый"} and set(table["session"]) == {"may 1"}
    assert set(read_annotations(folder)["identity"]) == {"Андрей Белый"}


def test_a_dataset_of_nobody_known_is_told_what_it_is_good_for(write_dataset):
    nobody = read_dataset(write_dataset([face("a.png", ""), face("b.png", "")], "no body"))
    with pytest.raises(DatasetError) as told:
        check_named(nobody)
    said = str(told.value)
    assert said.startswith(f"{nobody.folder}: nobody in it is named") and "\n" not in said
    assert f"thesislib evaluate --data '{nobody.folder}'`" in said
    assert f"--scenes '{nobody.folder}' --out" in said and "Annotator" in said


def test_a_dataset_of_one_name_is_told_of_galleries(write_dataset):
    one = read_dataset(write_dataset([face("a.png", "anna"), face("b.png", "anna")], "one"))
    with pytest.raises(DatasetError, match=r"only 'anna' is named in it.*enrol-dataset --data"):
        check_named(one)
    two = write_dataset([face("a.png", "anna"), face("b.png", "boris"), face("c.png", "")], "two")
    check_named(read_dataset(two))
