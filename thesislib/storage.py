"""Files that are whole or not there: written aside then renamed, folder locks, content hashes."""

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import filelock

LOCK = ".lock"
# What a killed run leaves behind of its writing: our temporary files, and those of safetensors.
_LEFTOVER = re.compile(r"\.[0-9a-f]{16}\.part(\.\w+)?|\.tmp[0-9A-Za-z]{6}")


class FolderInUseError(RuntimeError):
    """A folder that another run is writing to."""


class NotWritableError(PermissionError):
    """A folder that this user may not write to, or that lies on a read-only disk."""


@contextlib.contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    """Make a folder if it is not there, and name it where it may not be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS) or not error.filename:
            raise
        whole, named = folder.absolute(), Path(str(error.filename)).absolute()
        if not whole.is_relative_to(named) and named.parent != whole:
            raise  # of another file that the block opens
        raise NotWritableError(f"{whole}: cannot be written to ({error.strerror})") from error


@contextlib.contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path``, renamed to ``path`` when the block ends.

    A reader sees the old file or the new one, never half of one. On any error, a full disk
    included, the temporary file is removed and what was there before stays as it was.

    Args:
        path: file to write; its folder is made if it is not there.

    Yields:
        a path in the same folder and with the same suffix, for the block to write to.

    Raises:
        NotWritableError: the folder may not be written to.
    """
    path = Path(path)
    # The suffix stays last: writers such as Pillow and matplotlib read the format from it. Without
    # the stem the name is short even where the file's own is as long as the disk allows.
    aside = path.with_name(f".{secrets.token_hex(8)}.part{path.suffix}")
    with _writing_to(path.parent):
        try:
            yield aside
            with open(aside, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(aside, path)
        except BaseException as error:
            with contextlib.suppress(OSError):  # nothing was begun on a disk that is read-only
                aside.unlink()
            if isinstance(error, OSError) and error.filename is None and error.errno is not None:
                # As of a full disk, which does not say what could not be written.
                raise OSError(error.errno, error.strerror, str(path)) from error
            raise


@contextlib.contextmanager
def folder_aside(folder: Path | str) -> Iterator[Path]:
    """Yield a new folder within ``folder``, for files to be moved once all are whole.

    It is removed when the block ends, with what is still in it.

    Args:
        folder: made if it is not there.

    Yields:
        the new folder.

    Raises:
        NotWritableError: the folder may not be written to.
    """
    aside = Path(folder) / f".{secrets.token_hex(8)}.part"
    with _writing_to(Path(folder)):
        aside.mkdir()
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def sweep(folder: Path | str) -> None:
    """Remove the temporary files and folders of killed runs; the folder's lock must be held.

    Args:
        folder: whose own entries are looked at, not those of folders in it; may be missing.
    """
    for path in Path(folder).glob(".*"):
        if not _LEFTOVER.fullmatch(path.name):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path``, whole or not at all."""
    with atomic_write(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path | str, value: object) -> None:
    """Write ``value`` as JSON to ``path``, whole or not at all."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def read_record(path: Path | str, of: str) -> dict[str, Any]:
    """Read the record of a folder, a JSON object.

    Args:
        path: of the file.
        of: what it is a record of, for the error.

    Raises:
        ValueError: no JSON, or JSON of another type; the message names the file.
        OSError: it cannot be read.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise ValueError(f"{path}: not a record of {of}; choose another folder, or remove this one")
    return record


@contextlib.contextmanager
def folder_lock(folder: Path | str, wait: bool = False) -> Iterator[None]:
    """Hold ``folder`` for one run at a time.

    The operating system frees the lock when its holder ends, however it ends: the file ``.lock``
    that a killed run leaves behind blocks nobody.

    Args:
        folder: made if it is not there.
        wait: wait for the holder instead of giving up; for writes that take a moment.

    Raises:
        FolderInUseError: another process holds it, and ``wait`` is False.
        NotWritableError: the folder may not be written to.
    """
    folder = Path(folder)
    lock = filelock.FileLock(folder / LOCK, timeout=-1 if wait else 0)
    try:
        with _writing_to(folder):
            lock.acquire()
    except filelock.Timeout:
        raise FolderInUseError(
            f"{folder}: another run is writing here; wait for it to end, or stop it"
        ) from None
    try:
        yield
    finally:
        lock.release()


def bytes_hash(path: Path | str) -> str:
    """SHA-256 (hex) of a file's bytes, whatever its name."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_hash(text: str) -> str:
    """SHA-256 (hex) of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def content_hash(paths: Iterable[Path | str], root: Path | str | None = None) -> str:
    """SHA-256 (hex) over the names and bytes of several files, whatever their order.

    Args:
        paths: the files.
        root: folder to which names are relative; None takes a file's own name alone.
    """
    named = sorted(
        (Path(path).relative_to(root).as_posix() if root is not None else Path(path).name, path)
        for path in paths
    )
    digest = hashlib.sha256()
    for name, path in named:
        digest.update(name.encode() + b"\0")
        digest.update(bytes.fromhex(bytes_hash(path)))
    return digest.hexdigest()
