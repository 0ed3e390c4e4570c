"""Each source in its true form on a small scale, and what goes wrong with real collections."""

import io
import json
import shutil
import struct
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io
from conftest import PARTY
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from sources import files_of, found_everywhere, looks, picture, quietly, save, write

from thesislib import storage
from thesislib.data import detector
from thesislib.data.columns import BOX
from thesislib.data.importers import (
    SourceError,
    archives,
    converting,
    import_folder,
    merge,
    reading_of,
    summary,
)
from thesislib.data.importers.folder import is_split
from thesislib.data.importers.reading import NOBODY
from thesislib.data.importers.target import LOOK_OVER, PEOPLE_SHEET
from thesislib.data.names import plain_name
from thesislib.data.schema import DatasetError, read_dataset
from thesislib.environment import MissingExtraError
from thesislib.synthetic import scene, sets


@pytest.fixture(scope="module")
def portraits():
    """Photos in which dlib finds one face each."""
    found = []
    for identity in range(20):
        photo, faces = scene.render_photo(identity, 0, 0, size=160, changes={"yaw": 0.0})
        boxes, _ = converting.detect_faces(photo, upsampling=1)
        if len(boxes) == 1:
            found.append((Image.fromarray(photo), faces[0].box))
        if len(found) == 3:
            return found
    raise AssertionError("dlib finds too few of the faces")


# --- every source ------------------------------------------------------------------------------


@pytest.fixture
def georgia(tmp_path):
    folder = tmp_path / "gt_db"
    for person in (1, 2):
        for photo in (1, 2):
            number = 20 * (person - 1) + photo
            save(picture(number), folder / f"s{person:02d}/{photo:02d}.jpg")
            write(folder / f"labels/lab{number:03d}.txt", f"{10 + number} 5 50 40 s{person}\n")
    return folder


def test_georgia_tech(georgia, tmp_path):
    table = quietly("georgia_tech", georgia, tmp_path / "to").table
    assert table["photo"].tolist() == [f"photos/s0{p}/0{m}.jpg" for p in (1, 2) for m in (1, 2)]
    assert table["identity"].tolist() == ["s01", "s01", "s02", "s02"]
    assert table["x1"].tolist() == [11, 12, 31, 32]
    assert table[["y1", "x2", "y2"]].to_numpy().tolist() == [[5, 50, 40]] * 4
    assert set(table["box_source"]) == {"annotation"}


def test_a_label_short_of_numbers_is_named(georgia, tmp_path):
    write(georgia / "labels/lab021.txt", "10 5 50\n")
    with pytest.raises(SourceError, match=r"lab021\.txt, line 1: '10 5 50'; expected 4 numbers"):
        quietly("georgia_tech", georgia, tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_a_label_of_somebody_else_is_named(georgia, tmp_path):
    write(georgia / "labels/lab021.txt", "10 5 50 40 s1\n")
    with pytest.raises(SourceError, match=r"lab021\.txt, line 1: person 's1'; label 21 is of s2"):
        quietly("georgia_tech", georgia, tmp_path / "to")


def test_photo_without_label_and_label_without_photo_are_listed(georgia, tmp_path, portraits):
    (georgia / "labels/lab002.txt").unlink()
    (georgia / "s02/02.jpg").unlink()
    save(portraits[0][0], georgia / "s01/02.jpg")
    table = quietly("georgia_tech", georgia, tmp_path / "to").table
    assert table["box_source"].tolist() == ["annotation", "detector", "annotation"]
    assert looks(tmp_path / "to") == {
        "s01/02.jpg": "no label: box from the detector",
        "labels/lab022.txt": "a label without its photo",
    }


@pytest.fixture
def caltech(tmp_path):
    folder = tmp_path / "faces"
    corners = np.zeros((8, 3))
    for at in range(3):
        save(picture(at), folder / f"image_{at + 1:04d}.jpg")
        # bottom left, top left, top right, bottom right; x and y by turns
        corners[:, at] = [10 + at, 40, 10 + at, 8, 50, 8, 50, 40]
    scipy.io.savemat(folder / "ImageData.mat", {"SubDir_Data": corners})
    write(tmp_path / "who.csv", "first,last,identity\n1,2,Weber\n")
    return folder


def test_caltech_faces_1999(caltech, tmp_path):
    to = tmp_path / "to"
    who = {"identities": tmp_path / "who.csv", "allow": ["one-person"]}
    table = quietly("caltech_faces_1999", caltech, to, **who).table
    assert table["identity"].tolist() == ["Weber", "Weber", ""]
    assert table[BOX].to_numpy().tolist() == [[10 + at, 8, 50, 40] for at in range(3)]
    assert looks(to) == {"image_0003.jpg": "in no row of who.csv: unknown person"}


@pytest.mark.parametrize(
    "text, told",
    [
        ("first,last,identity\n1,x,Weber\n", "line 2: '1 x'; expected 2 numbers"),
        ("first,last,identity\n1,2,A\n2,3,B\n", "line 3: photo 2 is in an earlier row too"),
        ("from,to,who\n", "line 1: columns are"),
    ],
)
def test_a_table_of_identities_that_is_wrong_is_named(caltech, tmp_path, text, told):
    write(tmp_path / "who.csv", text)
    with pytest.raises(SourceError, match=rf"who\.csv, {told}"):
        quietly("caltech_faces_1999", caltech, tmp_path / "to", identities=tmp_path / "who.csv")


def test_caltech_needs_to_be_told_who_is_who(caltech, tmp_path):
    with pytest.raises(SourceError, match="needs --identities"):
        quietly("caltech_faces_1999", caltech, tmp_path / "to")
    with pytest.raises(SourceError, match=r"no\.csv: no such file"):
        quietly("caltech_faces_1999", caltech, tmp_path / "to", identities=tmp_path / "no.csv")


@pytest.mark.parametrize(
    "content", [{"other": np.zeros((8, 3))}, {"SubDir_Data": np.zeros((3, 3))}]
)
def test_a_matrix_of_another_shape_is_refused(caltech, tmp_path, content):
    scipy.io.savemat(caltech / "ImageData.mat", content)
    with pytest.raises(SourceError, match=r"ImageData\.mat: "):
        quietly("caltech_faces_1999", caltech, tmp_path / "to", identities=tmp_path / "who.csv")


def test_fei_boxes_are_the_detectors(tmp_path, portraits):
    folder = tmp_path / "fei"
    for at, (photo, _) in enumerate(portraits[:2]):
        save(photo, folder / f"{at + 1}-11.jpg")
    save(picture(5), folder / "2-14.jpg")
    save(picture(6), folder / "7a.jpg")
    table = quietly("fei", folder, tmp_path / "to").table
    assert table["identity"].tolist() == ["001", "002"]
    assert table["box_source"].tolist() == ["detector", "detector"]
    for (_, true), box in zip(portraits, table[BOX].to_numpy(), strict=False):
        assert box[0] < (true[0] + true[2]) / 2 < box[2]
    assert looks(tmp_path / "to") == {
        "7a.jpg": "not named P-MM: left out",
        "2-14.jpg": "0 faces found: left out",
    }
    assert (tmp_path / "to" / "to_look_over.jpg").stat().st_size > 1000


def test_lfw_boxes_are_the_middle(tmp_path):
    for name in ("Ann_Lee/Ann_Lee_0001", "Ann_Lee/Ann_Lee_0002", "Bo_Ek/Bo_Ek_0001"):
        save(picture(len(name), 250, 250), tmp_path / f"lfw/{name}.jpg")
    table = quietly("lfw", tmp_path / "lfw", tmp_path / "to").table
    assert table["identity"].tolist() == ["Ann_Lee", "Ann_Lee", "Bo_Ek"]
    half = 250 / 2.2 / 2
    np.testing.assert_allclose(table[BOX], [[125 - half] * 2 + [125 + half] * 2] * 3, atol=0.06)


def test_celeba(tmp_path):
    folder = tmp_path / "celeba"
    for at in (1, 2, 3, 9):
        save(picture(at, 640, 960), folder / f"img_celeba/{at:06d}.jpg")
    write(folder / "identity_CelebA.txt", "000001.jpg 2880\n000002.jpg 2937\n")
    boxes = "4\nimage_id x_1 y_1 width height\n000001.jpg    95  70 226 310\n"
    boxes += "000002.jpg  10 20 30 40\n000003.jpg  10 20 30 40\n000004.jpg 1 1 5 5\n"
    write(folder / "list_bbox_celeba.txt", boxes)
    table = quietly("celeba", folder, tmp_path / "to").table
    assert table["identity"].tolist() == ["2880", "2937", ""]
    assert table[["width", "height"]].to_numpy().tolist() == [[320, 480]] * 3
    assert table[BOX].to_numpy()[0].tolist() == [47.5, 35, 160.5, 190]
    assert set(looks(tmp_path / "to")) == {
        "list_bbox_celeba.txt",
        "img_celeba/000003.jpg",
        "img_celeba/000009.jpg",
    }
    write(folder / "list_bbox_celeba.txt", "1\nheader\n000001.jpg 95 70 226\n")
    with pytest.raises(SourceError, match=r"list_bbox_celeba\.txt, line 3: '95 70 226'"):
        quietly("celeba", folder, tmp_path / "again")
    write(folder / "identity_CelebA.txt", "000001.jpg\n")
    with pytest.raises(SourceError, match=r"identity_CelebA\.txt, line 1"):
        quietly("celeba", folder, tmp_path / "again")


def test_aligned_photos_of_celeba_are_not_given_boxes_of_others(tmp_path):
    folder = tmp_path / "celeba"
    for at in (1, 2):
        save(picture(at, 178, 218), folder / f"img_align_celeba/{at:06d}.jpg")
    write(folder / "identity_CelebA.txt", "000001.jpg 1\n000002.jpg 2\n")
    boxes = "2\nheader\n000001.jpg 95 70 226 310\n000002.jpg 95 70 226 310\n"
    write(folder / "list_bbox_celeba.txt", boxes)
    with pytest.raises(SourceError, match="these are the aligned photos"):
        quietly("celeba", folder, tmp_path / "to")
    for where in ("img_celeba", "a_wild"):  # whichever comes first
        for at in (1, 2):
            save(picture(at, 640, 960), folder / f"{where}/{at:06d}.jpg")
        made = quietly("celeba", folder, tmp_path / where)
        assert made.table[["width", "height"]].to_numpy().tolist() == [[320, 480]] * 2
        assert set(looks(tmp_path / where).values()) == {
            "aligned, and its box is of the photo in the wild: left out"
        }
        shutil.rmtree(folder / where)


WIDER = """0--Parade/0_Parade_1.jpg
2
10 5 20 25 0 0 0 0 0 0
30 5 0 9 0 0 0 0 0 0
0--Parade/0_Parade_2.jpg
0
0 0 0 0 0 0 0 0 0 0
0--Parade/0_Parade_3.jpg
2
10 5 20 25 0 0 0 0 0 0
35 5 20 25 0 0 0 1 0 0
0--Parade/0_Parade_4.jpg
1
10 5 20 25 0 0 0 0 0 0
"""


def test_wider_face(tmp_path):
    folder = tmp_path / "wider"
    for at in (1, 2, 3):
        save(picture(at), folder / f"WIDER_train/images/0--Parade/0_Parade_{at}.jpg")
    write(folder / "wider_face_split/wider_face_train_bbx_gt.txt", WIDER)
    table = quietly("wider_face", folder, tmp_path / "to").table
    assert table["photo"].str[-5].tolist() == ["1", "2", "3"]
    assert set(table["identity"]) == {""}
    assert table.loc[[0, 2], BOX].to_numpy().tolist() == [[10, 5, 30, 30]] * 2
    assert table.loc[1, BOX].isna().all()
    (reason,) = looks(tmp_path / "to").values()
    assert reason == "0--Parade/0_Parade_4.jpg is not there"
    write(folder / "wider_face_split/wider_face_train_bbx_gt.txt", WIDER[:54])
    with pytest.raises(SourceError, match=r"bbx_gt\.txt, line 4: .*expected 4 numbers"):
        quietly("wider_face", folder, tmp_path / "again")


def coco_face(image, box, **more):
    return {"image_id": image, "category_id": 2, "bbox": box, **more}


def coco_table(**changes):
    table = {
        "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "images/b.png"}],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "Face"}],
        "annotations": [
            {"image_id": 7, "category_id": 2, "bbox": [10, 5, 20, 25], "identity": "ann"},
            {
                "image_id": 7,
                "category_id": 2,
                "bbox": [35, 5, 20, 25],
                "attributes": {"identity": "bo"},
            },
            {"image_id": 7, "category_id": 1, "bbox": [0, 0, 5, 5]},
            {"image_id": 7, "category_id": 2, "bbox": [0, 0, 60, 40], "iscrowd": 1},
        ],
    }
    return {**table, **changes}


@pytest.fixture
def coco_folder(tmp_path):
    save(picture(1), tmp_path / "coco/a.jpg")
    save(picture(2), tmp_path / "coco/images/b.png")
    write(tmp_path / "coco/faces.json", json.dumps(coco_table()))
    return tmp_path / "coco"


def test_coco(coco_folder, tmp_path):
    table = quietly("coco", coco_folder, tmp_path / "to").table
    assert table["identity"].tolist() == ["ann", "bo", ""]
    assert table[BOX].to_numpy()[:2].tolist() == [[10, 5, 30, 30], [35, 5, 55, 30]]
    assert table.loc[2, BOX].isna().all()


NO_FACES = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]


@pytest.mark.parametrize(
    "text, told",
    [
        ("{", "not COCO JSON"),
        ("[]", "not COCO JSON"),
        (json.dumps(coco_table(categories=NO_FACES)), "no label is named face among cat, dog"),
        (json.dumps(coco_table(annotations=[coco_face(9, [1, 2, 3, 4])])), "annotation 0: .* 9"),
        (json.dumps(coco_table(annotations=[coco_face(7, [1, 2])])), r"annotation 0: .*\[1, 2\]"),
    ],
)
def test_json_that_is_not_coco_is_refused(coco_folder, tmp_path, text, told):
    write(coco_folder / "faces.json", text)
    with pytest.raises(SourceError, match=rf"coco.*{told}"):
        quietly("coco", coco_folder, tmp_path / "to")


# --- a folder of photos per person, with all that happens to it --------------------------------


@pytest.fixture
def people(tmp_path, portraits):
    """Names in Cyrillic and with spaces, sittings, capitals, other formats."""
    folder = tmp_path / "people"
    save(portraits[0][0], folder / "Анна Петрова/1.JPG")
    save(portraits[1][0], folder / "Bo Ek/may 2020/a.png")
    save(portraits[2][0], folder / "Bo Ek/june/a.jpeg", quality=95)
    return folder


def test_a_folder_per_person(people, tmp_path):
    before = files_of(people)
    table = quietly("folder", people, tmp_path / "to").table
    assert dict(zip(table["photo"], table["identity"], strict=True)) == {
        "photos/Bo Ek/june/a.jpg": "Bo Ek",
        "photos/Bo Ek/may 2020/a.jpg": "Bo Ek",
        "photos/Анна Петрова/1.jpg": "Анна Петрова",
    }
    assert table["session"].tolist() == ["june", "may 2020", ""]
    assert set(table["box_source"]) == {"detector"}
    assert files_of(people) == before


def test_what_cannot_be_used_is_listed_and_the_rest_goes_on(people, tmp_path, portraits):
    one, two = portraits[0][0], portraits[1][0]
    both = Image.new("RGB", (one.width + two.width, one.height))
    both.paste(one, (0, 0))
    both.paste(two, (one.width, 0))
    save(both, people / "Bo Ek/both.jpg")
    save(picture(1), people / "Bo Ek/nobody.jpg")
    save(picture(1), people / "alone.jpg")
    whole = io.BytesIO()
    one.save(whole, "jpeg")
    (people / "Bo Ek/broken.jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    (people / "Bo Ek/text.jpg").write_text("no picture")
    (people / "Bo Ek/._a.jpg").write_text("beside")
    (people / "Bo Ek/Thumbs.db").write_text("beside")
    (people / "Bo Ek/empty.jpg").touch()
    save(one, people / "Bo Ek/twin.png")
    (people / "Bo Ek/inside.jpg").symlink_to(people / "Анна Петрова/1.JPG")
    save(one, tmp_path / "elsewhere.jpg")
    (people / "Bo Ek/outside.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    (people / "Bo Ek/nowhere.jpg").symlink_to(tmp_path / "not there.jpg")
    (people / "Bo Ek/around").symlink_to(people)
    to = tmp_path / "to"
    dataset = quietly("folder", people, to)
    listed = {photo.removeprefix("Bo Ek/"): reason for photo, reason in looks(to).items()}
    assert listed["both.jpg"] == "2 faces found: left out"
    assert listed["nobody.jpg"] == "0 faces found: left out"
    assert listed["alone.jpg"] == "in no person's folder: left out"
    assert listed["broken.jpg"].startswith("photo is truncated or damaged")
    assert not any(str(tmp_path) in reason for reason in listed.values())
    assert "not an image" in listed["text.jpg"] and "empty" in listed["empty.jpg"]
    assert listed["outside.jpg"] == listed["nowhere.jpg"]
    assert listed["outside.jpg"].startswith("a link that leads out of the folder")
    twins = [reason for reason in listed.values() if reason.startswith("same picture as")]
    assert len(twins) >= 1
    assert len(listed) == 9 + len(twins)
    assert {"photos/Bo Ek/inside.jpg", "photos/Bo Ek/twin.jpg"} <= set(dataset.photos)
    assert "a leak if a split parts them" in summary(dataset)
    with Image.open(to / "to_look_over.jpg") as sheet:
        assert sheet.width == 1600


def bomb(path, side):
    """A PNG whose header claims side x side pixels; no more than a few bytes long."""
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + data + chunk(b"IEND", b""))


def test_a_decompression_bomb_is_listed_unopened(people, tmp_path):
    bomb(people / "Bo Ek/bomb.png", 18_900)  # a gigabyte of pixels
    assert len(quietly("folder", people, tmp_path / "to").photos) == 3
    assert "are more than the" in looks(tmp_path / "to")["Bo Ek/bomb.png"]


def test_photos_are_turned_upright_and_scaled_with_their_boxes(tmp_path):
    folder = tmp_path / "coco"
    turned = picture(3, 960, 640)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown upright it is 640 x 960
    save(turned, folder / "a.jpg", exif=exif)
    table = coco_table(
        images=[{"id": 7, "file_name": "a.jpg"}],
        annotations=[coco_face(7, [100, 200, 300, 400])],
    )
    write(folder / "faces.json", json.dumps(table))
    row = quietly("coco", folder, tmp_path / "to").table.iloc[0]
    assert (row.width, row.height) == (320, 480)
    assert row[BOX].tolist() == [50, 100, 200, 300]


def test_a_box_outside_its_photo_is_listed(coco_folder, tmp_path):
    table = coco_table(annotations=[coco_face(7, [50, 5, 40, 25]), coco_face(8, [-2, 5, 40, 25])])
    write(coco_folder / "faces.json", json.dumps(table))
    made = quietly("coco", coco_folder, tmp_path / "to").table
    assert made[BOX].to_numpy().tolist() == [[0, 5, 38, 30]]
    assert looks(tmp_path / "to") == {
        "a.jpg": "box [50, 5, 90, 30] lies outside the photo: left out"
    }


def test_names_that_would_collide_or_break_a_disk_are_kept_apart(tmp_path, portraits):
    folder = tmp_path / "people"
    for name in ("x/1.jpg", "x/1.png", 'a:b?"/1.jpg', "..c/1.jpg"):
        save(portraits[0][0], folder / name)
    dataset = quietly("folder", folder, tmp_path / "to")
    # A hidden folder is passed over as hidden files are.
    assert dataset.identities == ['a:b?"', "x"]
    assert dataset.photos == ["photos/a_b__/1.jpg", "photos/x/1.jpg", "photos/x/1_2.jpg"]


# --- interrupted, repeated, refused ------------------------------------------------------------


def test_a_killed_import_goes_on_and_ends_the_same(people, tmp_path, monkeypatch):
    whole = tmp_path / "whole"
    quietly("folder", people, whole)
    to = tmp_path / "to"
    detect, calls = converting.detect_faces, []

    def killed(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return detect(*arguments, **options)

    monkeypatch.setattr(converting, "detect_faces", killed)
    with pytest.raises(KeyboardInterrupt):
        quietly("folder", people, to)
    assert not (to / "annotations.csv").exists()
    with open(to / converting.JOURNAL, "a") as journal:
        journal.write('{"key": "half a li')
    quietly("folder", people, to)
    assert len(calls) == 4  # two before, one killed, one after
    ours, theirs = files_of(to), files_of(whole)
    ours.pop(converting.JOURNAL), theirs.pop(converting.JOURNAL)
    assert ours == theirs
    quietly("folder", people, to)
    assert len(calls) == 4


def test_a_photo_that_changed_is_imported_again(people, tmp_path, portraits):
    to = tmp_path / "to"
    quietly("folder", people, to)
    before = (to / "photos/Анна Петрова/1.jpg").read_bytes()
    save(portraits[2][0], people / "Анна Петрова/1.JPG")
    quietly("folder", people, to)
    assert (to / "photos/Анна Петрова/1.jpg").read_bytes() != before


@pytest.mark.parametrize("text", ["", "{", "[1]", '"folder"'])
def test_a_damaged_record_is_named(people, tmp_path, text):
    to = tmp_path / "to"
    to.mkdir()
    (to / "import.json").write_text(text)
    with pytest.raises(DatasetError, match=r"import\.json: not a record of an import"):
        quietly("folder", people, to)
    assert files_of(to) == {"import.json": text.encode()}


def test_a_folder_of_another_import_is_refused_untouched(people, georgia, tmp_path):
    to = tmp_path / "to"
    quietly("georgia_tech", georgia, to)
    before = files_of(to)
    with pytest.raises(
        DatasetError, match=r"made of .*gt_db as georgia_tech, not of .*people as folder"
    ):
        quietly("folder", people, to)
    (tmp_path / "other/photos").mkdir(parents=True)
    with pytest.raises(DatasetError, match="holds a dataset that was not imported"):
        quietly("folder", people, tmp_path / "other")
    with storage.folder_lock(to), pytest.raises(storage.FolderInUseError):
        quietly("georgia_tech", georgia, to)
    assert files_of(to) == before


def test_the_source_is_never_written_to(people):
    with pytest.raises(SourceError, match="lies within the source"):
        quietly("folder", people, people / "made")
    assert not (people / "made").exists()


@pytest.mark.parametrize("source", ["georgia_tech", "fei", "lfw", "wider_face", "folder"])
def test_a_folder_without_photos_says_what_was_looked_for(tmp_path, source):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"empty: no photos found; looked for"):
        quietly(source, tmp_path / "empty", tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_no_usable_photo_at_all_is_an_error(tmp_path):
    save(picture(1), tmp_path / "people/ann/1.jpg")
    save(picture(2), tmp_path / "people/bob/1.jpg")
    with pytest.raises(SourceError, match="no photo could be used"):
        quietly("folder", tmp_path / "people", tmp_path / "to")


def test_unknown_sources_and_folders_are_named(tmp_path):
    with pytest.raises(SourceError, match="source 'flickr' is unknown; choose one of georgia_tech"):
        quietly("flickr", tmp_path, tmp_path / "to")
    with pytest.raises(SourceError, match="nowhere: no such folder or archive"):
        quietly("fei", tmp_path / "nowhere", tmp_path / "to")


# --- archives ----------------------------------------------------------------------------------


def zipped(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(file, file.relative_to(folder.parent))
    return path


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_gives_what_its_folder_gives(georgia, tmp_path, kind):
    path = tmp_path / f"gt_db.{kind}"
    if kind == "zip":
        zipped(georgia, path)
    else:
        with tarfile.open(path, "w:gz") as archive:
            archive.add(georgia, "gt_db")
    from_folder = quietly("georgia_tech", georgia, tmp_path / "a").table
    assert quietly("georgia_tech", path, tmp_path / "b").table.equals(from_folder)


def unsafe_tar(path, kind):
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("../outside.jpg" if kind == "climbs" else "link.jpg")
        if kind == "links":
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/hostname"
        if kind == "device":
            member.type = tarfile.CHRTYPE
        archive.addfile(member, io.BytesIO(b""))


@pytest.mark.parametrize("kind", ["climbs", "links", "device"])
def test_a_tar_member_that_leads_out_is_refused(tmp_path, kind):
    unsafe_tar(tmp_path / "bad.tar", kind)
    with pytest.raises(SourceError, match=r"bad\.tar: member '.*' leads out of the archive"):
        quietly("folder", tmp_path / "bad.tar", tmp_path / "to")
    assert {p.name for p in tmp_path.iterdir()} == {"bad.tar"}


@pytest.mark.parametrize("name", ["../outside.jpg", "/outside.jpg", r"..\outside.jpg"])
def test_a_zip_member_that_leads_out_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(SourceError, match=r"bad\.zip: member '.*' leads out of the archive"):
        quietly("folder", tmp_path / "bad.zip", tmp_path / "to")
    assert {p.name for p in tmp_path.iterdir()} == {"bad.zip"}


def test_an_archive_too_large_or_damaged_is_refused(tmp_path, georgia, monkeypatch):
    path = zipped(georgia, tmp_path / "gt.zip")
    monkeypatch.setattr(archives, "MAX_UNPACKED", 100)
    with pytest.raises(SourceError, match=r"gt\.zip: unpacks to more than"):
        quietly("georgia_tech", path, tmp_path / "to")
    monkeypatch.undo()
    (tmp_path / "no.zip").write_bytes(b"not an archive")
    with pytest.raises(SourceError, match=r"no\.zip: neither a folder nor a zip or tar"):
        quietly("georgia_tech", tmp_path / "no.zip", tmp_path / "to")
    data = bytearray(path.read_bytes())
    data[40:2000] = bytes(1960)
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"gt\.zip: damaged archive"):
        quietly("georgia_tech", path, tmp_path / "to")


# --- merging, summary, names -------------------------------------------------------------------


def test_what_is_in_a_dataset_is_said_in_a_few_lines(georgia, party, tmp_path, portraits):
    told = summary(read_dataset(party)).splitlines()
    assert told[0] == f"14 photos, 22 faces, 3 people in {party}"
    assert told[2:] == [
        "photos without a face: 1",
        "6 sittings",
        "boxes: 22 of the source, 0 by dlib's detector",
    ]
    (georgia / "labels/lab002.txt").unlink()
    save(portraits[0][0], georgia / "s01/02.jpg")
    to = tmp_path / "to"
    assert summary(quietly("georgia_tech", georgia, to)).splitlines() == [
        f"4 photos, 4 faces, 2 people in {to}",
        "photos of a person: 2 (s02) to 2 (s01)",
        "no sittings",
        "boxes: 3 of the source, 1 by dlib's detector",
        "boxes of 3 photos were looked at: a face was found in 0, elsewhere in 0",
        "1 x no label: box from the detector",
        f"1 things to look over: {to / LOOK_OVER}",
        f"a photo of each person: {to / PEOPLE_SHEET}",
    ]


def test_a_party_is_merged_with_another(party, tmp_path):
    shutil.copytree(party, tmp_path / "001")
    merged = merge([party, str(tmp_path / "001")], tmp_path / "both", progress=False)
    assert merged.identities == sorted(f"{at}-{name}" for at in ("001", "party") for name in PARTY)
    assert len(merged.photos) == 28 and set(merged.table["session"]) == {"01", "02"}
    assert (merged.table["identity"] == "").sum() == 2 * 5
    assert set(merged.photo_hashes.values()) == set(read_dataset(party).photo_hashes.values())
    assert merged.private
    assert "28 photos, 44 faces, 6 people" in summary(merged)


def file_names(suffixes=()):
    """Names of files or folders that a disk takes and that are not hidden."""
    odd = [*PARTY, "null", "nan", "None", "1e5", "a,b", 'x"y', "李娜", "ПРИВЕТ", "%", "a b"]
    text = st.text(
        st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/"), min_size=1
    )
    plain = st.sampled_from(odd) | text.map(lambda name: name[:20].strip())
    plain = plain.filter(lambda name: name and name.strip(".") and not name.startswith("."))
    return st.builds(str.__add__, plain, st.sampled_from(suffixes)) if suffixes else plain


def is_refused(name):
    return is_split(name) or name.casefold() in NOBODY


PHOTO_FILES = file_names((".jpg", ".JPG", ".png", ".jpeg", ".webp"))
# People, each with photos by the sitting they lie in, "" for none.
TREES = st.dictionaries(
    # Hypothesis tries words of the library, too; those of a split, and of nobody, are refused.
    file_names().filter(lambda name: not is_refused(plain_name(name))),
    st.dictionaries(
        st.just("") | file_names(), st.sets(PHOTO_FILES, min_size=1, max_size=2), max_size=2
    ),
    min_size=2,
    max_size=4,
)


@pytest.mark.filterwarnings("ignore:no font has")
@given(TREES)
@example({name: {"": {"1.jpg", "1.png"}, "001": {"NA.jpg"}} for name in [*PARTY, "null", "nan"]})
@settings(max_examples=25)
def test_any_tree_of_people_comes_back_from_its_dataset(tree):
    with tempfile.TemporaryDirectory() as temporary, pytest.MonkeyPatch.context() as patch:
        patch.setattr(converting, "detect_faces", found_everywhere)
        source, to = Path(temporary) / "people", Path(temporary) / "to"
        source.mkdir()
        wanted, written = Counter(), {}
        for person, sittings in tree.items():
            for session, photos in sittings.items():
                for photo in photos:
                    colour = (wanted.total(), 255 - wanted.total(), 0)  # no two alike
                    file = source / person / session / photo
                    if not file.exists():  # on a disk that ignores case it may be there
                        save(Image.new("RGB", (8, 8), colour), file, format="png")
                        named = plain_name(person)  # as written first, in order of the folders
                        written.setdefault(named.casefold(), []).append(named)
                        wanted[named.casefold(), plain_name(session)] += 1
        if len(written) < 2:
            sittings = {session for _, session in wanted}
            if len({name.casefold() for name in sittings}) > 1 and "" not in sittings:
                # The one folder is taken for what wraps the people, and that is said.
                with reading_of("folder", source) as read:
                    assert "holds everything" in read.source.said[0]
                return
            with pytest.raises(SourceError, match=r"no photos found|one person only"):
                import_folder(source, to, progress=False)
            return
        before = files_of(source)
        dataset = import_folder(source, to, progress=False)
        table = dataset.table
        found = zip(table["identity"].str.casefold(), table["session"], strict=True)
        assert Counter(found) == wanted
        assert all(one in written[one.casefold()] for one in dataset.identities)
        assert len(dataset.identities) == len(written)
        assert len(dataset.photos) == len({p.casefold() for p in dataset.photos}) == wanted.total()
        assert not looks(to)
        made = files_of(to)
        pd.testing.assert_frame_equal(import_folder(str(source), str(to), False).table, table)
        assert files_of(to) == made and files_of(source) == before


def test_boxes_of_its_own_need_no_detector(coco_folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dlib", None)
    monkeypatch.delattr(detector._of_thread, "detector", raising=False)
    (coco_folder / "a.jpg").write_bytes(b"damaged")
    outside = coco_table(annotations=[coco_face(8, [10, 5, 20, 25]), coco_face(7, [50, 5, 40, 25])])
    write(coco_folder / "faces.json", json.dumps(outside))
    assert len(quietly("coco", coco_folder, tmp_path / "to").photos) == 1
    assert len(looks(tmp_path / "to")) == 1 and (tmp_path / "to/to_look_over.jpg").exists()
    save(picture(1), tmp_path / "people/ann/1.jpg")
    save(picture(2), tmp_path / "people/bob/1.jpg")
    with pytest.raises(MissingExtraError, match=r"thesislib\[dlib\]"):
        import_folder(tmp_path / "people", tmp_path / "again", progress=False)


def test_merging_keeps_two_annas_apart(georgia, tmp_path):
    a = quietly("georgia_tech", georgia, tmp_path / "gt").folder
    spec = sets.SyntheticSet(people=1, photos=2, sessions=1, size=64)
    sets.make(tmp_path / "made", spec, workers=1, progress=False)
    merged = merge([a, tmp_path / "made"], tmp_path / "both", progress=False)
    assert merged.identities == ["gt-s01", "gt-s02", "made-p0000"]
    assert len(merged.photos) == 6
    table = merged.table
    assert table.loc[table["identity"] == "made-p0000", "factor_yaw"].notna().all()
    assert set(table["box_source"]) == {"annotation", ""}
    twin = table["photo"][0]
    assert (merged.folder / twin).read_bytes() == (a / twin.replace("/gt/", "/")).read_bytes()
    with pytest.raises(DatasetError, match="two or more folders of different names"):
        merge([a, a], tmp_path / "twice")
