"""Archives as systems and tools write them, whole and damaged."""

import gzip
import io
import os
import signal
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from collections import Counter

import pytest
from sources import found_everywhere, looks, picture, quietly, save

from thesislib.data.importers import SourceError, archives, converting
from thesislib.data.importers.archives import unpacked


@pytest.fixture(autouse=True)
def _a_face_in_every_photo(monkeypatch):
    monkeypatch.setattr(converting, "detect_faces", found_everywhere)


def jpeg(seed):
    file = io.BytesIO()
    picture(seed).save(file, "jpeg")
    return file.getvalue()


def tar_of(path, names, mode="w"):
    with tarfile.open(path, mode) as archive:
        for at, name in enumerate(names):
            member = tarfile.TarInfo(name)
            text = jpeg(at)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
    return path


FOUR = [f"{person}/{at}.jpg" for person in ("anna", "bob") for at in range(2)]


def refusal(path, **options):
    with pytest.raises(SourceError) as caught, unpacked(path, [], **options):
        pass
    message = str(caught.value)
    assert message.startswith(str(path))
    return message


def test_a_tar_cut_between_members_or_with_a_broken_header_is_refused(tmp_path):
    path = tar_of(tmp_path / "p.tar", FOUR)
    whole = path.read_bytes()
    with tarfile.open(path) as archive:
        third = archive.getmembers()[2].offset
    path.write_bytes(whole[:third])
    assert "does not end where its members do" in refusal(path)
    path.write_bytes(whole[: third + 3] + b"\xff" + whole[third + 4 :])
    assert "does not end where its members do" in refusal(path)
    path.write_bytes(whole)
    assert len(quietly("folder", path, tmp_path / "to").photos) == 4


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_a_byte_changed_in_a_compressed_tar_is_found(tmp_path, kind):
    path = tar_of(tmp_path / f"p.tar.{kind}", FOUR, f"w:{kind}")
    whole = path.read_bytes()
    for at in range(100, len(whole) - 1, len(whole) // 20):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        refusal(path)
    path.write_bytes(whole[: len(whole) // 2])
    refusal(path)


def test_a_checksum_that_is_wrong_is_found(tmp_path):
    path = tmp_path / "p.tar.gz"
    tar_of(tmp_path / "p.tar", FOUR)
    text = bytearray(gzip.compress((tmp_path / "p.tar").read_bytes()))
    text[-8] ^= 1
    path.write_bytes(text)
    assert "CRC" in refusal(path)


def zip_of(path, members):
    """A zip of (name's bytes, flags, extra field), as other tools write them."""
    out, central = bytearray(), bytearray()
    for at, (name, flags, extra) in enumerate(members):
        text = jpeg(at)
        about = struct.pack(
            "<HHHHHIIIHH",
            20,
            flags,
            0,
            0,
            33,
            zlib.crc32(text),
            *[len(text)] * 2,
            len(name),
            len(extra),
        )
        central += struct.pack("<IH", 0x02014B50, 20) + about
        central += struct.pack("<HHHII", 0, 0, 0, 0, len(out)) + name + extra
        out += struct.pack("<I", 0x04034B50) + about + name + extra + text
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, *[len(members)] * 2, len(central), len(out), 0)
    path.write_bytes(out + central + end)
    return path


def unicode_path(name, text, version=1):
    """Info-ZIP's extra field."""
    field = struct.pack("<BI", version, zlib.crc32(name)) + text.encode()
    return struct.pack("<HH", 0x7075, len(field)) + field


def names_in(path, **options):
    said = []
    with unpacked(path, said, **options) as folder:
        names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    return names, said


@pytest.mark.parametrize("second", [b"anna/0.jpg", b"anna\\0.jpg"])
def test_two_members_of_one_name_are_refused(tmp_path, second):
    path = zip_of(tmp_path / "p.zip", [(b"anna/0.jpg", 0, b""), (second, 0, b"")])
    assert "two members are named" in refusal(path)


def test_names_flagged_as_utf8_and_in_a_code_page_may_be_mixed(tmp_path):
    members = [("Анна/1.jpg".encode("cp866"), 0, b""), ("Zoë 彩/1.jpg".encode(), 0x800, b"")]
    path = zip_of(tmp_path / "p.zip", members)
    for options in ({}, {"encoding": "cp866"}):
        names, said = names_in(path, **options)
        assert names == ["Zoë 彩/1.jpg", "Анна/1.jpg"]
        assert said == ([] if options else ["names that are not UTF-8 are read as cp866"])


def test_the_field_with_the_unicode_name_counts_where_it_fits(tmp_path):
    lost = [b"????/1.jpg", b"Jos_/2.jpg"]
    true = ["彩香/1.jpg", "José/2.jpg"]
    fields = [unicode_path(name, text) for name, text in zip(lost, true, strict=True)]
    path = zip_of(tmp_path / "p.zip", [(n, 0, f) for n, f in zip(lost, fields, strict=True)])
    assert names_in(path)[0] == sorted(true)
    wrong = unicode_path(b"another name", "somebody/2.jpg")
    path = zip_of(tmp_path / "p.zip", [(lost[1], 0, wrong), (lost[0], 0, b"\x75")])
    assert names_in(path)[0] == ["????/1.jpg", "Jos_/2.jpg"]


def test_folders_and_names_of_windows(tmp_path):
    path = zip_of(
        tmp_path / ".zip",
        [(b"anna\\", 0, b""), (b"anna\\1.jpg", 0, b""), (b"12:30 x/1.jpg", 0, b"")],
    )
    assert names_in(path)[0] == ["12:30 x/1.jpg", "anna/1.jpg"]
    assert "leads out" in refusal(zip_of(tmp_path / "p.zip", [(b"C:\\1.jpg", 0, b"")]))


def test_names_that_a_disk_takes_are_kept(tmp_path):
    name = "Ы" * 67
    path = zip_of(tmp_path / "p.zip", [(f"{name}/{name}.jpg".encode(), 0x800, b"")])
    assert names_in(path)[0] == [f"{name}/{name}.jpg"]


def test_kinds_that_are_not_read_are_refused_in_a_sentence(tmp_path):
    path = zip_of(tmp_path / "p.zip", [(b"anna/1.jpg", 1, b"")])
    assert "is encrypted; unpack it first" in refusal(path)
    text = bytearray(zip_of(path, [(b"anna/1.jpg", 0, b"")]).read_bytes())
    for start in (b"PK\x03\x04", b"PK\x01\x02"):
        at = text.index(start) + (8 if start.endswith(b"\x04") else 10)
        text[at : at + 2] = struct.pack("<H", 9)  # Deflate64
    path.write_bytes(text)
    assert "of a kind not read" in refusal(path)
    (tmp_path / "p.rar").write_bytes(b"Rar!\x1a\x07\x01\x00")
    assert "neither a folder nor a zip or tar archive" in refusal(tmp_path / "p.rar")


def test_a_link_to_itself_in_a_tar_is_refused(tmp_path):
    path = tmp_path / "p.tar"
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("anna/1.jpg")
        member.type, member.linkname = tarfile.SYMTYPE, "1.jpg"
        archive.addfile(member)
    refusal(path)


def test_a_full_disk_is_not_called_a_damaged_archive(tmp_path, monkeypatch):
    path = tar_of(tmp_path / "p.tar", FOUR)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archives.shutil, "copyfileobj", full)
    with pytest.raises(SourceError, match=r"no room on the disk to unpack .*p\.tar"):
        quietly("folder", path, tmp_path / "to")


def test_errors_name_the_archive_and_not_where_it_was_unpacked(tmp_path):
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/a.json", "{")
    with pytest.raises(SourceError, match=r"p\.zip/x/a\.json: not COCO JSON"):
        quietly("coco", path, tmp_path / "to")


@pytest.mark.skipif(sys.platform != "linux", reason="signals of this system")
def test_an_import_that_is_asked_to_end_leaves_no_photos_behind(tmp_path):
    for at in range(150):
        save(picture(at, 800, 600), tmp_path / f"people/p{at % 2}/{at}.jpg")
    path = tmp_path / "people.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(tmp_path / "people", "people")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    words = ["-m", "thesislib", "data", "folder", str(path), "--to", str(tmp_path / "to")]
    running = subprocess.Popen(
        [sys.executable, *words],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 120
    while not (tmp_path / "to/import.jsonl").exists() and time.monotonic() < until:
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    assert running.wait(timeout=120) == 143
    assert not list(temporary.rglob("*.jpg"))


def test_what_is_no_file_is_listed_and_does_not_hang(tmp_path):
    for name in FOUR:
        save(picture(hash(name) % 1000), tmp_path / "people" / name)
    for name in ("pipe.jpg", "pipe.txt"):
        os.mkfifo(tmp_path / "people/anna" / name)
    made = quietly("folder", tmp_path / "people", tmp_path / "to")
    assert Counter(made.table["identity"]) == {"anna": 2, "bob": 2}
    assert {looks(tmp_path / "to")[f"anna/pipe.{end}"] for end in ("jpg", "txt")} == {
        "no file: left out"
    }
