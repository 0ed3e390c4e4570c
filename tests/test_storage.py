"""A file is whole or as it was, and a folder has one writer."""

import errno
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from thesislib import storage


@pytest.fixture
def holder(tmp_path):
    """Another process that holds tmp_path's lock."""
    code = (
        "import runpy, sys, time\n"
        "with runpy.run_path(sys.argv[1])['folder_lock'](sys.argv[2]):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, storage.__file__, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_what_is_written_is_there_and_nothing_beside_it(tmp_path):
    storage.write_text(tmp_path / "deep" / "a.txt", "Анна\n")
    storage.write_text(tmp_path / "deep" / "a.txt", "Борис\n")
    assert (tmp_path / "deep" / "a.txt").read_text(encoding="utf-8") == "Борис\n"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left"), ValueError(), KeyboardInterrupt()]
)
def test_an_error_half_way_leaves_the_old_file_and_no_other(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)), storage.atomic_write(path) as aside:
        aside.write_text("ne")
        assert path.read_text() == "old"
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_as_long_as_the_disk_allows_is_written(tmp_path):
    name = "ж" * 125 + ".txt"  # 254 bytes of at most 255
    storage.write_text(tmp_path / name, "whole")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.fixture
def theirs():
    """A folder that may be read, not written to; root is somebody else meanwhile."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "theirs"
        folder.mkdir()
        (folder / "a.txt").write_text("old")
        os.chmod(parent, 0o755)
        folder.chmod(0o555)
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        if root:
            os.seteuid(65534)
        elif os.access(folder, os.W_OK):
            pytest.skip("needs a folder that may not be written to")
        yield folder
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: storage.write_text(folder / "a.txt", "new"),
        lambda folder: storage.write_json(folder / "deep" / "er" / "a.json", {}),
        lambda folder: storage.folder_lock(folder).__enter__(),
        lambda folder: storage.folder_lock(folder / "new").__enter__(),
        lambda folder: storage.folder_aside(folder).__enter__(),
    ],
)
def test_a_folder_that_may_not_be_written_to_is_named(theirs, write):
    told = rf"^{re.escape(str(theirs))}[/\w]*: cannot be written to \(Permission denied\)$"
    with pytest.raises(storage.NotWritableError, match=told):
        write(theirs)
    assert [(file.name, file.read_text()) for file in theirs.iterdir()] == [("a.txt", "old")]


def test_a_relative_folder_that_may_not_be_written_to_is_named(theirs, monkeypatch):
    monkeypatch.chdir(theirs)
    for folder in ("runs/mine", "."):
        told = f"^{re.escape(str(theirs / folder))}: cannot be written to"
        with pytest.raises(storage.NotWritableError, match=told):
            storage.write_text(f"{folder}/a.txt", "new")
        with pytest.raises(storage.NotWritableError, match=told), storage.folder_lock(folder):
            pass


def test_what_may_not_be_read_is_not_blamed_on_the_folder(tmp_path):
    error = PermissionError(errno.EACCES, "Permission denied", "/root/secret")
    with pytest.raises(PermissionError) as caught, storage.atomic_write(tmp_path / "a"):
        raise error
    assert caught.value is error


def test_two_threads_may_write_one_file(tmp_path):
    path = tmp_path / "a.txt"
    both_open = threading.Barrier(2, timeout=10)

    def write(text):
        with storage.atomic_write(path) as aside:
            aside.write_text(text)
            both_open.wait()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, ["one", "two"]))
    assert path.read_text() in ("one", "two")
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_keeps_the_suffix(tmp_path):
    with storage.atomic_write(tmp_path / "a.png") as aside:
        assert aside.suffix == ".png" and aside.parent == tmp_path
        aside.touch()


def test_a_folder_aside_is_gone_at_the_end_with_what_was_not_moved(tmp_path):
    with pytest.raises(KeyError), storage.folder_aside(tmp_path / "new") as aside:
        assert aside.parent == tmp_path / "new"
        (aside / "a").touch()
        (aside / "b").touch()
        (aside / "a").rename(tmp_path / "new" / "a")
        raise KeyError
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a"]


def test_what_killed_runs_left_is_swept_away_and_nothing_else(tmp_path):
    kept = {"a.part", ".tmp", ".tmp_mine", ".tmpabcdefg", ".lock", "net.safetensors", ".part"}
    for name in [*kept, ".tmpa1B2c3", f".{'0' * 16}.part.safetensors", f".{'f' * 16}.part"]:
        (tmp_path / name).touch()
    (tmp_path / f".{'a' * 16}.part").mkdir()
    (tmp_path / f".{'a' * 16}.part" / "net.onnx").touch()
    storage.sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == kept
    storage.sweep(tmp_path / "nothing")


def test_json_is_read_back_and_sorted(tmp_path):
    storage.write_json(tmp_path / "a.json", {"b": [1, 2.5], "a": "Анна"})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"a": "Анна", "b": [1, 2.5]}
    assert text.index('"a"') < text.index('"b"') and "Анна" in text


def test_a_folder_held_by_another_process_is_refused_by_name(tmp_path, holder):
    with (
        pytest.raises(storage.FolderInUseError, match="another run is writing here") as caught,
        storage.folder_lock(tmp_path),
    ):
        pass
    assert str(tmp_path) in str(caught.value)


def test_a_killed_holder_leaves_the_folder_free(tmp_path, holder):
    holder.kill()
    holder.wait()
    with storage.folder_lock(tmp_path):
        pass


def test_waiting_gets_the_folder_when_its_holder_ends(tmp_path, holder):
    timer = threading.Timer(0.3, holder.kill)
    began = time.monotonic()
    timer.start()
    with storage.folder_lock(tmp_path, wait=True):
        assert time.monotonic() - began >= 0.25


def test_locks_need_nothing_that_windows_lacks(tmp_path):
    code = (
        "import runpy, sys; sys.modules['fcntl'] = None\n"
        "storage = runpy.run_path(sys.argv[1])\n"
        "storage['write_text'](sys.argv[2] + '/a.txt', 'whole')"
    )
    subprocess.run([sys.executable, "-c", code, storage.__file__, str(tmp_path)], check=True)
    assert (tmp_path / "a.txt").read_text() == "whole"


def test_one_of_many_that_want_a_folder_at_once_gets_it(tmp_path):
    others_are_done = threading.Event()

    def run(_):
        try:
            with storage.folder_lock(tmp_path):
                return others_are_done.wait(10) and "ran"
        except storage.FolderInUseError:
            return "refused"

    with ThreadPoolExecutor(8) as pool:
        runs = [pool.submit(run, number) for number in range(8)]
        end = time.monotonic() + 10
        while sum(run.done() for run in runs) < 7 and time.monotonic() < end:
            time.sleep(0.01)
        others_are_done.set()
    assert sorted(run.result() for run in runs) == ["ran", *["refused"] * 7]


def test_the_lock_goes_with_the_block(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyError), storage.folder_lock(tmp_path / "new"):
            raise KeyError


def test_hashes_are_sha_256_of_bytes_and_of_text(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    wanted = hashlib.sha256(b"abc").hexdigest()
    assert storage.bytes_hash(tmp_path / "a") == storage.text_hash("abc") == wanted


def test_content_hash_depends_on_names_and_bytes_but_not_on_order_or_place(tmp_path):
    def written(folder, **files):
        for name, text in files.items():
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / name).write_text(text)
        paths = [tmp_path / folder / name for name in files]
        return storage.content_hash(paths, tmp_path / folder)

    first = written("1", a="x", b="y")
    assert written("2", b="y", a="x") == first
    others = [written("3", a="y", b="x"), written("4", a="x", c="y"), written("5", a="x")]
    assert len({first, *others}) == 4
