"""An import asked again: interrupted, changed, moved, of another source; nothing is lost."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sources import files_of, found_everywhere, looks, people, picture, quietly, save, write

from thesislib.data.importers import (
    SourceError,
    converting,
    dry_run,
    merge,
    reading_of,
    summary,
    target,
)
from thesislib.data.schema import DatasetError, read_dataset


@pytest.fixture(autouse=True)
def _a_face_in_every_photo(monkeypatch):
    monkeypatch.setattr(converting, "detect_faces", found_everywhere)


def test_photos_taken_away_are_gone_and_that_is_said(tmp_path):
    folder, to = people(tmp_path / "source", anna=2, bob=2, carl=2), tmp_path / "to"
    quietly("folder", folder, to)
    for file in (folder / "carl").iterdir():
        file.unlink()
    (folder / "anna/1.jpg").unlink()
    made = quietly("folder", folder, to)
    assert made.identities == ["anna", "bob"] and len(made.photos) == 3
    assert {p.name for p in (to / "photos").iterdir()} == {"anna", "bob"}
    assert len(list((to / "photos").rglob("*.jpg"))) == 3
    assert "the source has changed since it was last imported" in summary(made)
    assert "has changed" not in summary(quietly("folder", folder, to))


def test_a_source_that_moved_is_the_same_source(tmp_path):
    folder, to = people(tmp_path / "source", anna=2, bob=2), tmp_path / "to"
    quietly("folder", folder, to)
    before = read_dataset(to).content_hash
    folder.rename(tmp_path / "elsewhere")
    made = quietly("folder", tmp_path / "elsewhere", to)
    assert made.content_hash == before
    assert f"the source has moved: it was imported from {folder}" in summary(made)


def test_another_source_of_that_name_is_refused(tmp_path):
    one = people(tmp_path / "a/photos", anna=2, bob=2)
    other = people(tmp_path / "b/photos", carl=2, dora=2)
    to = tmp_path / "photos"
    quietly("folder", one, to)
    before = files_of(to)
    with pytest.raises(DatasetError, match=r"made of .*a/photos as folder, not of .*merge"):
        quietly("folder", other, to)
    assert files_of(to) == before


def test_a_table_edited_since_is_not_replaced(tmp_path):
    folder, to = people(tmp_path / "source", anna=2, bob=2), tmp_path / "to"
    quietly("folder", folder, to)
    table = pd.read_csv(to / "annotations.csv")
    table.loc[0, "x1"] = 7.0
    table.to_csv(to / "annotations.csv", index=False)
    before = files_of(to)
    with pytest.raises(DatasetError, match=r"annotations\.csv: was edited since the import"):
        quietly("folder", folder, to)
    assert files_of(to) == before
    (to / "annotations.csv").unlink()
    assert quietly("folder", folder, to).table["x1"].tolist() == [1.0] * 4


def shown(to, photo):
    """Mean colour of a photo of the dataset, by which photos are told apart."""
    return np.asarray(Image.open(to / photo)).mean(axis=(0, 1)).round().tolist()


def plain(path, grey):
    return save(Image.new("RGB", (64, 48), (grey, grey, grey)), path)


def test_photos_exchanged_and_exchanged_back_are_each_persons_own(tmp_path):
    folder, to = tmp_path / "source", tmp_path / "to"
    plain(folder / "anna/0.jpg", 50), plain(folder / "bob/0.jpg", 200)
    for one, other in ((50, 200), (200, 50), (50, 200)):
        plain(folder / "anna/0.jpg", one), plain(folder / "bob/0.jpg", other)
        quietly("folder", folder, to)
        assert shown(to, "photos/anna/0.jpg")[0] == pytest.approx(one, abs=2)
        assert shown(to, "photos/bob/0.jpg")[0] == pytest.approx(other, abs=2)


def test_a_photo_damaged_in_the_dataset_is_made_again(tmp_path):
    folder, to = people(tmp_path / "source", anna=2, bob=2), tmp_path / "to"
    before = files_of(quietly("folder", folder, to).folder)
    (to / "photos/anna/0.jpg").write_bytes(b"damaged")
    quietly("folder", folder, to)
    assert files_of(to)["photos/anna/0.jpg"] == before["photos/anna/0.jpg"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("after", [0, 1, 3])
def test_an_import_that_does_not_end_leaves_the_earlier_dataset(
    tmp_path, monkeypatch, error, after
):
    folder, to = people(tmp_path / "source", anna=2, bob=2), tmp_path / "to"
    quietly("folder", folder, to)
    before = files_of(to)
    for at, file in enumerate(sorted(folder.rglob("*.jpg"))):
        save(picture(900 + at, 48, 64), file)
    convert, calls = converting._convert_one, []

    def stopped(*arguments):
        if len(calls) == after:
            raise error
        calls.append(1)
        return convert(*arguments)

    monkeypatch.setattr(converting, "_convert_one", stopped)
    with pytest.raises(type(error) if isinstance(error, OSError) else error):
        quietly("folder", folder, to)
    now = files_of(to)
    assert all(now[name] == before[name] for name in before if name != "import.jsonl")
    assert read_dataset(to).table["width"].tolist() == [64] * 4
    monkeypatch.undo()
    monkeypatch.setattr(converting, "detect_faces", found_everywhere)
    assert quietly("folder", folder, to).table["width"].tolist() == [48] * 4
    assert not (to / target.ASIDE).exists()


def stopped_at(path):
    """In place of os.replace: the process ends before that file is put in place."""
    replace = os.replace

    def replaced(source, to):
        if Path(to) == path:
            raise KeyboardInterrupt
        replace(source, to)

    return replaced


@pytest.mark.parametrize("step", ["annotations.csv", "photos", ".importing/earlier"])
def test_a_kill_while_the_dataset_is_put_in_place_is_told_and_mended(tmp_path, monkeypatch, step):
    folder, to = people(tmp_path / "source", anna=2, bob=2), tmp_path / "to"
    quietly("folder", folder, to)
    save(picture(77, 48, 64), folder / "anna/0.jpg")
    with monkeypatch.context() as patch:
        patch.setattr(target.os, "replace", stopped_at(to / step))
        with pytest.raises(KeyboardInterrupt):
            quietly("folder", folder, to)
    with pytest.raises(DatasetError, match=r"no annotations\.csv in it"):
        read_dataset(to)
    assert sorted(quietly("folder", folder, to).table["width"]) == [48, 64, 64, 64]
    assert not (to / target.ASIDE).exists()


def test_an_import_of_the_same_leaves_files_as_they_are(tmp_path):
    folder, to = people(tmp_path / "source", anna=2, bob=2), tmp_path / "to"
    quietly("folder", folder, to)
    kept = [to / "annotations.csv", *(to / "photos").rglob("*.jpg")]
    before = [(file.stat().st_ino, file.stat().st_mtime_ns) for file in kept]
    quietly("folder", folder, to)
    assert [(file.stat().st_ino, file.stat().st_mtime_ns) for file in kept] == before


def test_a_first_import_killed_while_it_is_put_in_place_goes_on(tmp_path, monkeypatch):
    folder, to = people(tmp_path / "source", anna=2, bob=2), tmp_path / "to"

    with monkeypatch.context() as patch:
        patch.setattr(target.os, "replace", stopped_at(to / "annotations.csv"))
        with pytest.raises(KeyboardInterrupt):
            quietly("folder", folder, to)
    assert (to / "photos").exists()
    with pytest.raises(DatasetError, match=r"made of .*source as folder"):
        quietly("folder", people(tmp_path / "other", carl=2, dora=2), to)
    assert len(quietly("folder", folder, to).photos) == 4
    assert not (to / target.ASIDE).exists()


def test_disks_without_hard_links_will_do(tmp_path, monkeypatch):
    folder, to = people(tmp_path / "source", anna=2, bob=2), tmp_path / "to"
    before = files_of(quietly("folder", folder, to).folder)

    def refused(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(target.os, "link", refused)
    quietly("folder", folder, to)
    assert files_of(to) == before


def test_a_refused_import_leaves_the_earlier_dataset(tmp_path):
    folder, to = people(tmp_path / "source", anna=2, bob=1), tmp_path / "to"
    quietly("folder", folder, to)
    before = read_dataset(to).content_hash
    (folder / "bob/0.jpg").write_bytes(b"no photo")
    with pytest.raises(SourceError, match="one person only"):
        quietly("folder", folder, to)
    assert read_dataset(to).content_hash == before
    table = pd.read_csv(to / "annotations.csv")
    table.loc[0, "x1"] = 7.0
    table.to_csv(to / "annotations.csv", index=False)
    with pytest.raises(DatasetError, match="was edited since"):
        quietly("folder", folder, to, allow=["one-person"])


def test_files_that_somebody_put_among_the_photos_stay(tmp_path):
    folder, to = people(tmp_path / "source", anna=2, bob=2), tmp_path / "to"
    quietly("folder", folder, to)
    write(to / "photos/anna/notes.txt", "mine")
    save(picture(5), to / "photos/raw/original.png")
    (folder / "bob/0.jpg").unlink()
    quietly("folder", folder, to)
    assert (to / "photos/anna/notes.txt").read_text() == "mine"
    assert (to / "photos/raw/original.png").exists()
    assert not (to / "photos/bob/0.jpg").exists()


def test_photos_of_one_size_do_not_hide_another_source(tmp_path):
    for name, grey in (("a", 50), ("b", 200)):
        for person in ("anna", "bob"):
            save(Image.new("RGB", (8, 8), (grey,) * 3), tmp_path / name / f"photos/{person}/1.bmp")
    quietly("folder", tmp_path / "a/photos", tmp_path / "to")
    with pytest.raises(DatasetError, match=r"made of .*a/photos as folder"):
        quietly("folder", tmp_path / "b/photos", tmp_path / "to")


@pytest.mark.parametrize("line", ["5", "[1]", "null", "{}", '{"key": 1}', "{"])
def test_a_broken_journal_is_read_as_far_as_it_goes(tmp_path, line):
    folder, to = people(tmp_path / "source", anna=2, bob=2), tmp_path / "to"
    quietly("folder", folder, to)
    journal = to / target.JOURNAL
    journal.write_text(f"{line}\n{journal.read_text()}{line}")
    assert len(quietly("folder", folder, to).photos) == 4


def test_a_dry_run_does_not_write_into_the_source(tmp_path):
    folder = people(tmp_path / "source", anna=2, bob=2)
    before = files_of(folder)
    for to in (folder, folder / "anna"):
        with (
            reading_of("folder", folder) as read,
            pytest.raises(SourceError, match="never written"),
        ):
            dry_run(read, to)
    assert files_of(folder) == before


def test_a_file_in_the_datasets_place_is_refused(tmp_path):
    folder = people(tmp_path / "source", anna=2, bob=2)
    write(tmp_path / "to", "a file")
    with pytest.raises(DatasetError, match="is a file, and a dataset is a folder"):
        quietly("folder", folder, tmp_path / "to")


def faces(folder, boxes):
    """COCO of one photo a list of (person, box)."""
    images, annotations = [], []
    for at, each in enumerate(boxes):
        save(picture(at), folder / f"{at}.jpg")
        images.append({"id": at, "file_name": f"{at}.jpg"})
        for person, (x1, y1, x2, y2) in each:
            box = [x1, y1, x2 - x1, y2 - y1]
            annotations.append({"image_id": at, "bbox": box, "identity": person})
    write(folder / "a.json", json.dumps({"images": images, "annotations": annotations}))
    return folder


ONE, TWO = (5, 5, 25, 25), (30, 5, 50, 25)


@pytest.mark.parametrize(
    "boxes, people_left, reason",
    [
        ([("a", ONE), ("a", ONE)], ["a"], "a box twice: taken once"),
        ([("", ONE), ("a", (5.01, 5, 25, 25))], ["a"], "a box twice: taken once"),
        ([("a", ONE), ("", ONE)], ["a"], "a box twice: taken once"),
        ([("a", ONE), ("b", ONE)], [], "one box of two people, a and b: left out"),
        ([("a", ONE), ("a", TWO)], [], "the same person twice: left out"),
        ([("a", ONE), ("b", (7, 7, 7, 9))], ["a"], "box [7, 7, 7, 9] has no size: left out"),
        ([("a", (7, 7, 7, 9))], [], "box [7, 7, 7, 9] has no size: left out"),
    ],
)
def test_boxes_that_cannot_be_taken_as_they_are_are_listed(tmp_path, boxes, people_left, reason):
    others = [[("c", ONE)], [("d", ONE)]]
    to = tmp_path / "to"
    made = quietly("coco", faces(tmp_path / "coco", [boxes, *others]), to)
    assert made.identities == [*people_left, "c", "d"]
    assert looks(to) == {"0.jpg": reason}


def test_a_crowd_without_boxes_is_not_nobody(tmp_path):
    folder = faces(tmp_path / "coco", [[("a", ONE)], [("b", ONE)], [], []])
    table = json.loads((folder / "a.json").read_text())
    for crowd, at in ((1, 2), ("0", 3)):
        box = {"image_id": at, "bbox": [1, 1, 20, 20], "identity": "c", "iscrowd": crowd}
        table["annotations"].append(box)
    write(folder / "a.json", json.dumps(table))
    made = quietly("coco", folder, tmp_path / "to")
    assert made.identities == ["a", "b", "c"] and len(made.photos) == 3
    assert looks(tmp_path / "to") == {"2.jpg": "a crowd alone, whose faces have no boxes: left out"}


def dataset(folder, **photos):
    return quietly("folder", people(folder.with_name(f"{folder.name} source"), **photos), folder)


def test_two_people_who_would_have_one_name_are_not_merged(tmp_path):
    dataset(tmp_path / "fei", **{"b-anna": 2, "x": 2})
    dataset(tmp_path / "fei-b", anna=2, y=2)
    with pytest.raises(DatasetError, match="'anna' of fei-b and 'b-anna' of fei would both be"):
        merge([tmp_path / "fei", tmp_path / "fei-b"], tmp_path / "to", False)
    assert not (tmp_path / "to").exists()


def test_a_merge_asked_again_is_brought_up_to_date_and_loses_nothing(tmp_path):
    folders = [tmp_path / "p/one", tmp_path / "p/two"]
    dataset(folders[0], anna=2, bob=2), dataset(folders[1], carl=2, dora=2)
    to = tmp_path / "to"
    before = merge(folders, to, False)
    assert merge(folders, to, False).content_hash == before.content_hash
    (tmp_path / "p/two source/dora/0.jpg").unlink()
    quietly("folder", tmp_path / "p/two source", folders[1])
    assert len(merge(folders, to, False).photos) == 7
    assert len(list((to / "photos").rglob("*.jpg"))) == 7
    others = [tmp_path / "q/one", tmp_path / "q/two"]
    dataset(others[0], eve=2, fred=2), dataset(others[1], gail=2, hugo=2)
    with pytest.raises(DatasetError, match=r"made of .*p/one and .*p/two as merge, not of .*q/one"):
        merge(others, to, False)
    table = pd.read_csv(to / "annotations.csv")
    table.loc[0, "x1"] = 7.0
    table.to_csv(to / "annotations.csv", index=False)
    with pytest.raises(DatasetError, match="was edited since"):
        merge(folders, to, False)
