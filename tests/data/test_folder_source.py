"""Folders of people, as they are packed, named, split and filled."""

import os
import shutil
import sys
import tarfile
import tempfile
import unicodedata
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sources import found_everywhere, looks, picture, quietly, save, write

from thesislib.data import images
from thesislib.data.importers import SourceError, converting, reading_of
from thesislib.data.names import MAX_BYTES, plain_name

pytestmark = pytest.mark.filterwarnings("ignore:no font has")


@pytest.fixture(autouse=True)
def _a_face_in_every_photo(monkeypatch):
    monkeypatch.setattr(converting, "detect_faces", found_everywhere)


def people(folder, names=("anna", "bob"), photos=2):
    for name in names:
        for at in range(photos):
            save(picture(1000 * len(name) + ord(name[0]) + at), folder / name / f"{at}.jpg")
    return folder


def counts(dataset):
    return dict(Counter(dataset.table["identity"]))


def said(source, folder, **options):
    with reading_of(source, folder, **options) as reading:
        return "\n".join(reading.sentences())


BOTH = {"anna": 2, "bob": 2}

# --- the level of folders ----------------------------------------------------------------------

SYSTEM_FILES = ("__MACOSX/people/anna/._0.jpg", ".DS_Store", "Thumbs.db", "people/desktop.ini")
SYSTEM_FILES += ("people/anna/Thumbs.db", "people/.picasa.ini", "people/bob/@eaDir/0.jpg/x.jpg")


@pytest.mark.parametrize("wrappers", ["", "people", "my photos/people", "a/b/c"])
def test_folders_that_wrap_all_people_are_passed_through(tmp_path, wrappers):
    folder = tmp_path / "source"
    people(folder / wrappers)
    for name in SYSTEM_FILES:
        write(folder / name, "no photo")
    made = quietly("folder", folder, tmp_path / "to")
    assert counts(made) == BOTH and set(made.table["session"]) == {""}
    assert looks(tmp_path / "to") == {}
    told = said("folder", folder)
    assert all(f"{name}/ holds everything" in told for name in wrappers.split("/") if name)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz"])
@pytest.mark.parametrize("wrapper", ["people", ".", "backup/people"])
def test_packed_folders_are_read_as_folders_are(tmp_path, kind, wrapper):
    folder = people(tmp_path / "source" / wrapper).parents[wrapper.count("/")]
    path = tmp_path / f"photos.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted((tmp_path / "source").rglob("*.jpg")):
                archive.write(file, file.relative_to(tmp_path / "source"))
            archive.writestr("__MACOSX/._people", "")
            archive.writestr("people/.DS_Store", "")
    else:
        with tarfile.open(path, f"w:{kind.partition('.')[2]}") as archive:
            archive.add(tmp_path / "source", ".")
    made = quietly("folder", path, tmp_path / "to")
    assert counts(made) == BOTH and set(made.table["session"]) == {""}
    assert folder.exists()


@pytest.mark.parametrize(
    "parts", [("train", "test"), ("Train", "Val", "TEST"), ("training", "validation")]
)
@pytest.mark.parametrize("wrapper", ["", "dataset"])
def test_parts_of_a_split_are_taken_together(tmp_path, parts, wrapper):
    folder = tmp_path / "source"
    for part in parts:
        people(folder / wrapper / part, photos=1)
    made = quietly("folder", folder, tmp_path / "to")
    assert counts(made) == dict.fromkeys(("anna", "bob"), len(parts))
    assert len(set(made.photos)) == 2 * len(parts)
    assert "are parts of a split" in said("folder", folder)


def test_one_part_of_a_split_alone_is_passed_through(tmp_path):
    people(tmp_path / "source/train")
    assert counts(quietly("folder", tmp_path / "source", tmp_path / "to")) == BOTH


@pytest.mark.parametrize(
    "name",
    [
        "train",
        "Test",
        "val",
        "training_set",
        "Test-Images",
        "unknown",
        "Unknown",
        "strangers",
        "Неизвестные",
        "other",
        "faces",
    ],
)
def test_people_named_like_a_split_or_like_nobody_are_refused(tmp_path, name):
    folder = people(tmp_path / "source", ("anna", "bob", name))
    with pytest.raises(SourceError, match=f"people named {name}, .*--allow names"):
        quietly("folder", folder, tmp_path / "to")
    assert not (tmp_path / "to").exists()
    assert counts(quietly("folder", folder, tmp_path / "to", allow=["names"])) == {**BOTH, name: 2}


@pytest.mark.parametrize("place", ["anna", "anna/may", "people/anna"])
def test_one_person_alone_is_refused(tmp_path, place):
    save(picture(1), tmp_path / "source" / place / "1.jpg")
    save(picture(2), tmp_path / "source" / place / "2.jpg")
    write(tmp_path / "source/bob/notes.txt", "no photo")
    with pytest.raises(SourceError, match=r"one person only, .*--allow one-person|no photos found"):
        quietly("folder", tmp_path / "source", tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_sittings_are_told_so_that_people_taken_for_them_are_seen(tmp_path):
    folder = tmp_path / "source"
    people(folder / "2023"), people(folder / "2024")
    told = said("folder", folder)
    assert "2 people" in told and "4 sittings" in told
    assert "folders in a person's are sittings, as anna of 2023" in told
    assert "sittings, as" not in said("folder", folder / "2023")


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "one, other",
    [
        ("Андрей", unicodedata.normalize("NFD", "Андрей")),
        ("José", unicodedata.normalize("NFD", "José")),
        ("Anna Lee", "Anna  Lee"),
        ("Anna Lee", "Anna\u00a0Lee"),
        ("Anna Lee", "Anna Lee\u200b"),
        ("Anna Lee", "anna lee"),
        ("Анна", "АННА"),
    ],
)
def test_names_that_look_alike_are_one_persons(tmp_path, one, other):
    folder = people(tmp_path / "source", (one, other, "Bob"), photos=3)
    made = quietly("folder", folder, tmp_path / "to")
    assert sorted(counts(made).values()) == [3, 6]
    assert {name.casefold() for name in made.identities} == {"bob", one.casefold()}


@given(st.text(min_size=1, max_size=12), st.data())
@settings(max_examples=25)
def test_any_way_of_writing_a_name_is_that_name(name, data):
    name = plain_name(name.replace("/", "").replace("\0", "")).strip(".")
    if not name or name.casefold() == "bob":
        return
    blank = data.draw(st.sampled_from([" ", "  ", "\u00a0", "\u2009"]))
    form = data.draw(st.sampled_from(["NFC", "NFD"]))
    other = unicodedata.normalize(form, name.replace(" ", blank))
    with tempfile.TemporaryDirectory() as temporary, pytest.MonkeyPatch.context() as patch:
        patch.setattr(converting, "detect_faces", found_everywhere)
        source = Path(temporary) / "source"
        for at, folder in enumerate((name, other, "bob")):
            save(picture(at, 8, 8), source / folder / f"{at}.jpg")
        made = quietly("folder", source, Path(temporary) / "to", allow=["names"])
        assert made.identities == sorted(["bob", name])
        assert len(made.photos) == 3


def packed(path, names):
    """A zip whose names are these bytes, as a Windows that tells no code page writes them."""
    with zipfile.ZipFile(path, "w") as archive:
        for at, name in enumerate(names):
            # As many letters as bytes, to be put in their place.
            stand_in = f"{at:04d}".ljust(len(name), "x")
            file = path.with_suffix(".jpg")
            save(picture(at, 16, 16), file)
            archive.write(file, stand_in)
    text = path.read_bytes()
    for at, name in enumerate(names):
        text = text.replace(f"{at:04d}".ljust(len(name), "x").encode(), name)
    path.write_bytes(text)


@pytest.mark.parametrize("encoding", ["cp866", "cp1251", "koi8-r", "utf-8"])
def test_names_in_a_code_page_come_out_right(tmp_path, encoding):
    names = [f"Люди/{who}/Фото {at}.jpg" for who in ("Анна Петрова", "Юрий") for at in range(2)]
    packed(tmp_path / "p.zip", [name.encode(encoding) for name in names])
    made = quietly("folder", tmp_path / "p.zip", tmp_path / "to")
    assert counts(made) == {"Анна Петрова": 2, "Юрий": 2}
    assert made.photos[0] == "photos/Анна Петрова/Фото 0.jpg"


def test_names_in_no_code_page_that_can_be_told_are_refused_and_said(tmp_path):
    names = ["Я/1.jpg".encode("cp866"), "Ё/1.jpg".encode("cp866")]
    packed(tmp_path / "p.zip", names)
    with pytest.raises(SourceError, match=r"p\.zip: names such as .*say which with --encoding"):
        quietly("folder", tmp_path / "p.zip", tmp_path / "to")
    made = quietly("folder", tmp_path / "p.zip", tmp_path / "to", encoding="cp866")
    assert made.identities == ["Ё", "Я"]
    with pytest.raises(SourceError, match=r"p\.zip: names are not in ascii"):
        quietly("folder", tmp_path / "p.zip", tmp_path / "again", encoding="ascii")
    with pytest.raises(SourceError, match="unknown encoding"):
        quietly("folder", tmp_path / "p.zip", tmp_path / "again", encoding="cp99999")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
@pytest.mark.parametrize("encoding", ["cp1251", "koi8-r", "cp866"])
def test_folders_that_are_not_utf8_are_decoded(tmp_path, encoding):
    folder = tmp_path / "source"
    for at, name in enumerate(("Анна Петрова", "Борис")):
        one = os.path.join(os.fsencode(folder), name.encode(encoding))
        os.makedirs(one)
        save(picture(at), tmp_path / "a.jpg")
        shutil.copy(os.fsencode(tmp_path / "a.jpg"), os.path.join(one, b"1.jpg"))
        shutil.copy(os.fsencode(tmp_path / "a.jpg"), os.path.join(one, b"broken.txt"))
    made = quietly("folder", folder, tmp_path / "to")
    assert made.identities == ["Анна Петрова", "Борис"]
    assert f"read as {encoding}" in said("folder", folder)
    assert "Борис/broken.txt" in looks(tmp_path / "to")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_folders_in_no_code_page_that_can_be_told_are_named(tmp_path):
    folder = people(tmp_path / "source")
    odd = os.path.join(os.fsencode(folder), b"\xff\x81\xfe")
    os.makedirs(odd)
    shutil.copy(os.fsencode(folder / "anna/0.jpg"), os.path.join(odd, b"1.jpg"))
    with pytest.raises(SourceError, match=r"source: names such as b'.xff.x81.xfe' .*--encoding"):
        quietly("folder", folder, tmp_path / "to")


@pytest.mark.parametrize("letter, count", [("x", 250), ("ы", 120), ("彩", 80)])
def test_names_as_long_as_a_disk_takes_are_cut(tmp_path, letter, count):
    folder = tmp_path / "source"
    for at, end in enumerate(("1", "2")):
        save(picture(at), folder / "anna" / (letter * count + end + ".jpg"))
        save(picture(9 + at), folder / (letter * (count - 1) + end) / "a.jpg")
    made = quietly("folder", folder, tmp_path / "to")
    assert len(made.photos) == 4 and len(made.identities) == 3
    for photo in made.photos:
        assert all(len(part.encode()) <= MAX_BYTES + 4 for part in photo.split("/"))
        assert (tmp_path / "to" / photo).is_file()


@pytest.mark.parametrize("name", [" ", "\u3000", "\u200b"])
def test_a_folder_named_with_nothing_that_is_seen_is_nobody(tmp_path, name):
    folder = people(tmp_path / "source", ("anna", "bob", name))
    made = quietly("folder", folder, tmp_path / "to")
    assert counts(made) == BOTH
    assert set(looks(tmp_path / "to").values()) == {"in no person's folder: left out"}
    assert "without a photo" not in said("folder", folder)


def test_hidden_files_are_listed_but_for_systems_own(tmp_path):
    folder = people(tmp_path / "source")
    for name in (".DS_Store", "._0.jpg", ".picasa.ini", ".Trash-1000/1.jpg", ".nomedia"):
        write(folder / "anna" / name, "no photo")
    save(picture(4), folder / "...and friends/1.jpg")
    save(picture(5), folder / "anna/.hidden.jpg")
    save(picture(6), folder / "anna/1.recognised.jpg")
    assert counts(quietly("folder", folder, tmp_path / "to")) == BOTH
    assert looks(tmp_path / "to") == dict.fromkeys(
        ["...and friends", "anna/.hidden.jpg"], "hidden: left out"
    ) | {"anna/1.recognised.jpg": "a picture that was drawn, no photo: left out"}


# --- what lies among photos --------------------------------------------------------------------

FORMATS = {".jpe": "JPEG", ".jfif": "JPEG", ".gif": "GIF", ".jp2": "JPEG2000", ".avif": "AVIF"}
FORMATS |= {".webp": "WEBP", ".tiff": "TIFF", ".bmp": "BMP", ".JPG": "JPEG", ".PNG": "PNG"}


def test_what_pillow_reads_is_read_and_all_else_listed(tmp_path):
    folder = people(tmp_path / "source")
    for at, (suffix, kind) in enumerate(FORMATS.items()):
        save(picture(50 + at), folder / f"anna/{at}x{suffix}", format=kind)
    for name in ("IMG.dng", "IMG.CR2", "clip.mp4", "list.xlsx", "a.jpg_large", "no suffix"):
        write(folder / "bob" / name, "no photo")
    write(folder / "carl/IMG.dng", "no photo")
    write(folder / "dora/may/IMG.nef", "no photo")
    made = quietly("folder", folder, tmp_path / "to")
    assert counts(made) == {"anna": 2 + len(FORMATS), "bob": 2}
    listed = looks(tmp_path / "to")
    assert len(listed) == 8
    assert set(listed.values()) == {"no photo that is read: left out"}
    assert "without a photo that is read: carl, dora" in said("folder", folder)


def test_photos_of_phones_are_read_or_named(tmp_path):
    folder = people(tmp_path / "source")
    try:
        import pillow_heif
    except ImportError:
        (folder / "anna/IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
        quietly("folder", folder, tmp_path / "to")
        assert "thesislib[heic]" in looks(tmp_path / "to")["anna/IMG_1.HEIC"]
    else:
        pillow_heif.from_pillow(picture(7)).save(folder / "anna/IMG_1.HEIC")
        assert counts(quietly("folder", folder, tmp_path / "to")) == {"anna": 3, "bob": 2}


def test_links_in_circles_and_out_of_the_folder_are_listed(tmp_path):
    folder = people(tmp_path / "source")
    save(picture(5), tmp_path / "out.jpg")
    (folder / "anna/round").symlink_to(folder / "anna", target_is_directory=True)
    (folder / "anna/self.jpg").symlink_to("self.jpg")
    (folder / "anna/ping.jpg").symlink_to("pong.jpg")
    (folder / "anna/pong.jpg").symlink_to("ping.jpg")
    (folder / "anna/out.jpg").symlink_to(tmp_path / "out.jpg")
    (folder / "anna/up").symlink_to(tmp_path, target_is_directory=True)
    made = quietly("folder", folder, tmp_path / "to")
    assert counts(made) == BOTH
    names = {"self.jpg", "ping.jpg", "pong.jpg", "out.jpg", "up", "round"}
    assert {Path(name).name for name in looks(tmp_path / "to")} == names


def test_folders_that_cannot_be_read_are_listed(tmp_path, monkeypatch):
    folder = people(tmp_path / "source")
    save(picture(8), folder / "locked/1.jpg")
    listdir = Path.iterdir

    def denied(path):
        if path.name == "locked":
            raise PermissionError(13, "Permission denied")
        return listdir(path)

    monkeypatch.setattr(Path, "iterdir", denied)  # whoever runs this may be root
    assert counts(quietly("folder", folder, tmp_path / "to")) == BOTH
    assert looks(tmp_path / "to") == {"locked": "cannot be read (Permission denied): left out"}


def test_a_file_that_cannot_be_read_is_listed(tmp_path, monkeypatch):
    folder = people(tmp_path / "source")

    def denied(path, mode):
        if Path(path).match("anna/0.jpg"):
            raise PermissionError(13, "Permission denied")
        return open(path, mode)

    monkeypatch.setattr(images, "open", denied, raising=False)
    assert counts(quietly("folder", folder, tmp_path / "to")) == {"anna": 1, "bob": 2}
    assert looks(tmp_path / "to") == {"anna/0.jpg": "cannot be read (Permission denied): left out"}


def test_photos_in_damaged_exif_are_taken(tmp_path):
    folder = people(tmp_path / "source")
    exif = Image.Exif()
    exif[0x0112] = 6
    block = bytearray(exif.tobytes())
    block[-8:] = b"\xff" * 8
    save(picture(3), folder / "anna/odd.jpg", exif=bytes(block))
    assert counts(quietly("folder", folder, tmp_path / "to")) == {"anna": 3, "bob": 2}


@pytest.mark.parametrize("name", ["Anna's photos", 'the "best"', "$HOME; ls", "a`b`", "Мои фото"])
def test_folders_of_any_name_are_imported(tmp_path, name):
    folder = people(tmp_path / name)
    made = quietly("folder", folder, tmp_path / "data" / name)
    assert counts(made) == BOTH and made.name == name
