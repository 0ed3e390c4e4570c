"""What a source is read as is said, and refused where it is more often a mistake than meant."""

import json

import numpy as np
import pytest
from PIL import Image
from sources import files_of, found_everywhere, looks, people, picture, quietly, save, write

from thesislib.__main__ import main
from thesislib.commands import nets
from thesislib.data.importers import (
    SourceError,
    converting,
    dry_run,
    import_folder,
    reading,
    reading_of,
    summary,
)
from thesislib.data.importers.reading import of_people_with_few
from thesislib.data.importers.target import LOOK_OVER, PEOPLE_SHEET
from thesislib.data.names import told_names
from thesislib.data.schema import DatasetError
from thesislib.environment import MissingExtraError


@pytest.fixture(autouse=True)
def _a_face_in_every_photo(monkeypatch):
    monkeypatch.setattr(converting, "detect_faces", found_everywhere)


# --- what is said ------------------------------------------------------------------------------


def test_a_reading_says_what_the_import_will_make(tmp_path):
    folder = people(tmp_path / "source", anna=3, bob=1, carl=1)
    write(folder / "anna/list.txt", "no photo")
    save(picture(1), folder / "dora/may/1.jpg")
    save(picture(2), folder / "dora/june/1.jpg")
    with reading_of("folder", folder) as read:
        told = read.sentences()
    assert told[:5] == [
        "7 photos, 7 faces, 4 people",
        "photos of a person: 1 (carl) to 3 (anna)",
        "with one photo, which cannot be both learned and tested: bob, carl; --min-photos 2 "
        "leaves them out",
        "2 sittings",
        "boxes: 0 of the source, 7 by dlib's detector",
    ]
    assert told[-1] == "1 x no photo that is read: left out"
    dataset = quietly("folder", folder, tmp_path / "to")
    made = summary(dataset).splitlines()
    assert made[0] == f"{told[0]} in {tmp_path / 'to'}"
    assert made[1 : len(told)] == told[1:]
    with Image.open(tmp_path / "to" / PEOPLE_SHEET) as sheet:
        assert sheet.size == (1600, 186)


def test_reasons_are_counted_and_the_rare_ones_summed():
    reasons = ["often"] * 5 + [f"box {at} lies outside" for at in range(30)]
    told = reading.told_reasons(reasons)
    assert told[0] == "5 x often" and told[-1] == "21 x other reasons" and len(told) == 11
    assert told_names([f"p{at}" for at in range(10)]).endswith("p7 and 2 more")


def test_a_dry_run_makes_no_dataset(tmp_path, capsys):
    folder = people(tmp_path / "source", anna=2, bob=2)
    write(folder / "anna/list.txt", "no photo")
    assert main(["data", "folder", str(folder), "--dry-run"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "4 photos, 4 faces, 2 people"
    assert told[-1] == "anna/list.txt: no photo that is read: left out"
    assert {p.name for p in tmp_path.iterdir()} == {"source"}
    to = tmp_path / "to"
    assert main(["data", "folder", str(folder), "--dry-run", "--to", str(to)]) == 0
    assert {p.name for p in to.iterdir()} == {LOOK_OVER, PEOPLE_SHEET}
    assert list(looks(to)) == ["anna/list.txt"]
    quietly("folder", folder, to)
    before = files_of(to)
    with reading_of("folder", folder) as read, pytest.raises(DatasetError, match="holds a dataset"):
        dry_run(read, to)
    assert files_of(to) == before


def test_a_dry_run_says_what_it_refuses_and_where_boxes_lie(tmp_path, capsys):
    folder = people(tmp_path / "source", anna=2)
    assert main(["data", "folder", str(folder), "--dry-run"]) == 1
    told = capsys.readouterr()
    assert told.out.startswith("2 photos, 2 faces, 1 people\n") and "one person only" in told.err
    folder = boxed(tmp_path / "coco", [GOOD] * 2)
    assert main(["data", "coco", str(folder), "--dry-run"]) == 0
    assert "boxes of 2 photos were looked at" in capsys.readouterr().out


def test_a_dry_run_shows_each_persons_box(tmp_path):
    for at, person in enumerate(("ann", "bob", "")):
        save(Image.new("RGB", (64, 48)), tmp_path / f"coco/{at}.jpg")
        box = {"image_id": at, "category_id": 1, "bbox": [10, 10, 20, 20], "identity": person}
        table = json.loads((tmp_path / "coco/a.json").read_text()) if at else {"images": []}
        table.setdefault("annotations", []).append(box)
        table["images"].append({"id": at, "file_name": f"{at}.jpg", "width": 128, "height": 96})
        table["categories"] = [{"id": 1, "name": "face"}]
        write(tmp_path / "coco/a.json", json.dumps(table))
    with reading_of("coco", tmp_path / "coco") as read:
        shown = read.one_photo_each()
        dry_run(read, tmp_path / "to")
    assert [(file.name, name) for file, name, *_ in shown] == [("0.jpg", "ann"), ("1.jpg", "bob")]
    assert shown[0][2].tolist() == [[5, 5, 15, 15]] and shown[0][3] == (64, 48)
    sheet = np.asarray(Image.open(tmp_path / "to" / PEOPLE_SHEET)).astype(int)
    yellow = (sheet[..., 0] > 180) & (sheet[..., 1] > 180) & (sheet[..., 2] < 100)
    rows, columns = np.nonzero(yellow[:, :160])
    assert len(rows) and columns.min() > 5 and columns.max() < 64


@pytest.mark.parametrize(
    "words, told",
    [
        (["folder", "x", "--dry-run"], "no such folder or archive"),
        (["merge", "x", "y", "--dry-run"], "merge takes --to alone"),
        (["merge", "x", "y", "--to", "z", "--min-photos", "2"], "merge takes --to alone"),
        (["synthetic", "smoke", "--to", "z", "--allow", "names"], "synthetic takes --to alone"),
        (["folder", "x", "y", "--to", "z"], "more than one folder is for merge"),
        (["folder", "."], "--to is needed"),
    ],
)
def test_words_that_do_not_go_together_are_one_sentence(tmp_path, capsys, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    assert main(["data", *words]) == 1
    error = capsys.readouterr().err
    assert told in error and "Traceback" not in error


@pytest.mark.parametrize("folder", ["", "nowhere"])
def test_no_folder_is_not_the_one_we_are_in(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(people(tmp_path / "source", anna=2, bob=2))
    with pytest.raises(SourceError, match=r"none given|no such folder"):
        import_folder(folder, tmp_path / "to", progress=False)


# --- people with few photos --------------------------------------------------------------------


def test_people_with_few_photos_are_left_out_and_listed(tmp_path):
    folder = people(tmp_path / "source", anna=3, bob=1, carl=2)
    made = import_folder(folder, tmp_path / "to", False, min_photos=2)
    assert made.identities == ["anna", "carl"]
    few = "of a person with fewer than 2 photos: left out"
    assert looks(tmp_path / "to") == {"bob/0.jpg": few}
    assert import_folder(folder, tmp_path / "3", False, min_photos=3, allow=["one-person"])


def test_photos_that_cannot_be_used_do_not_count(tmp_path):
    folder = people(tmp_path / "source", anna=3, bob=2, carl=2)
    (folder / "bob/0.jpg").write_bytes(b"no photo")
    made = quietly("folder", folder, tmp_path / "to", min_photos=2)
    assert made.identities == ["anna", "carl"]
    assert looks(tmp_path / "to")["bob/1.jpg"].startswith("of a person with fewer than 2")
    assert "no photo is left of bob" in summary(made)
    assert not list((tmp_path / "to/photos").glob("bob*"))


def test_a_photo_of_several_goes_with_any_of_them():
    photos = [{"a", "b"}, {"a"}, {"c"}, {"c"}, set()]
    assert of_people_with_few(photos, 1) == set()
    assert of_people_with_few(photos, 2) == {0, 1}  # b goes, and then a has one photo
    assert of_people_with_few(photos, 3) == {0, 1, 2, 3}


# --- what is refused ---------------------------------------------------------------------------


def test_one_person_who_is_left_of_several_is_refused(tmp_path):
    folder = people(tmp_path / "source", anna=2, bob=1)
    (folder / "bob/0.jpg").write_bytes(b"no photo")
    to = tmp_path / "to"
    with pytest.raises(SourceError, match=r"only, 'anna'.* left of bob; see .*over\.csv"):
        quietly("folder", folder, to)
    assert not (to / "annotations.csv").exists() and "bob/0.jpg" in looks(to)
    assert quietly("folder", folder, to, allow=["one-person"]).identities == ["anna"]


def boxed(folder, boxes, scale=1):
    """Photos with a box each, by COCO."""
    images, annotations = [], []
    for at, box in enumerate(boxes):
        save(picture(at, 64 * scale, 48 * scale), folder / f"{at}.jpg")
        images.append({"id": at, "file_name": f"{at}.jpg"})
        x1, y1, x2, y2 = (scale * value for value in box)
        annotations.append(
            {"image_id": at, "bbox": [x1, y1, x2 - x1, y2 - y1], "identity": f"p{at % 2}"}
        )
    write(folder / "a.json", json.dumps({"images": images, "annotations": annotations}))
    return folder


GOOD, BAD = (5, 5, 25, 25), (40, 20, 60, 40)


@pytest.mark.parametrize(
    "boxes, refused",
    [
        ([BAD] * 8, True),
        ([BAD] * 6 + [GOOD] * 2, True),
        ([BAD] * 4 + [GOOD] * 4, False),  # a detector errs, too
        ([GOOD] * 8, False),
        ([BAD], False),
    ],
)
def test_boxes_that_lie_elsewhere_than_faces_are_refused(tmp_path, boxes, refused):
    folder = boxed(tmp_path / "coco", boxes)

    def detect(photo):
        return np.array([GOOD], float) * photo.shape[0] / 48

    options = {"detect": detect, "allow": ["one-person"]}
    if refused:
        with pytest.raises(SourceError, match=r"boxes lie elsewhere than faces .*--allow boxes"):
            quietly("coco", folder, tmp_path / "to", **options)
        assert not (tmp_path / "to").exists()
    options["allow"] += ["boxes"] * refused
    assert len(quietly("coco", folder, tmp_path / "to", **options).photos) == len(boxes)
    doubtful = "its box lies elsewhere than the face that is found"
    listed = [name for name, reason in looks(tmp_path / "to").items() if reason == doubtful]
    assert listed == ([] if refused else [f"{at}.jpg" for at, b in enumerate(boxes) if b is BAD])


def test_a_sample_of_the_boxes_is_looked_at(tmp_path):
    folder = boxed(tmp_path / "coco", [BAD] * 300)
    seen = []

    def detect(photo):
        seen.append(photo.shape)
        return np.zeros((0, 4))

    quietly("coco", folder, tmp_path / "to", detect=detect)
    assert len(seen) == reading.SAMPLE


@pytest.mark.parametrize("box, refused", [(GOOD, False), (BAD, True)])
def test_boxes_are_looked_at_on_photos_scaled_down(tmp_path, box, refused):
    folder = boxed(tmp_path / "coco", [box] * 4, scale=20)

    def detect(photo):
        assert photo.shape == (320, 427, 3)
        return np.array([GOOD]) * 320 / 48

    with reading_of("coco", folder) as read:
        if refused:
            with pytest.raises(SourceError, match="boxes lie elsewhere"):
                read.check(detect=detect)
        else:
            read.check(detect=detect)


@pytest.mark.parametrize(
    "others, left_out",
    [
        ([], False),
        ([[2, 2, 20, 20]], False),  # the same face
        ([[2, 2, 20, 20], [40, 10, 50, 20]], True),
        ([[40, 10, 50, 20]], True),
        ([[40, 10, 44, 14]], False),  # somebody in the background
    ],
)
def test_a_photo_that_may_be_of_somebody_else_is_left_out(tmp_path, monkeypatch, others, left_out):
    folder = people(tmp_path / "source", anna=2, bob=2)

    def one(photo, upsampling):
        return np.array([[1, 1, 19, 19]], np.float32), np.ones(1, np.float32)

    monkeypatch.setattr(converting, "detect_faces", one)
    if not left_out:
        made = quietly(
            "folder", folder, tmp_path / "to", detect=lambda _: np.reshape(others, (-1, 4))
        )
        assert len(made.photos) == 4
        return
    with pytest.raises(SourceError, match="no photo could be used"):
        quietly("folder", folder, tmp_path / "to", detect=lambda _: np.array(others))
    assert all(reason.startswith("a second face") for reason in looks(tmp_path / "to").values())


def test_without_a_detector_boxes_are_taken_and_that_is_said(tmp_path, monkeypatch):
    def missing(photo):
        raise MissingExtraError("dlib is not installed")

    monkeypatch.setattr(reading, "_found_by_dlib", missing)
    made = quietly("coco", boxed(tmp_path / "coco", [BAD] * 4), tmp_path / "to")
    assert "boxes were not looked at: no detector is installed" in summary(made)


def test_the_command_looks_with_the_published_net_or_dlib(tmp_path, monkeypatch):
    detect = nets._published_detector()
    assert detect is None or detect(np.zeros((48, 64, 3), np.uint8)).shape == (0, 4)
    monkeypatch.setattr("thesislib.engine.checkpoint.net_file", lambda _: tmp_path / "none")
    assert nets._published_detector() is None
