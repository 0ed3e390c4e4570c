"""Files that are whole or not there: write aside then rename, one run a folder, content hashes."""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path


class FolderInUseError(RuntimeError):
    """A second run was started in a folder that another run is writing to."""


@contextlib.contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside ``path``; when the block ends without error, rename it to it.

    A reader sees the old file or the new one, never half of one. On any error, a full disk
    included, the temporary file is removed and what was there before stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: writers such as Pillow and matplotlib read the format from it.
    aside = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield aside
        with open(aside, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path``, whole or not at all."""
    with atomic_write(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: object) -> None:
    """Write ``value`` as JSON to ``path``, whole or not at all."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def folder_lock(folder: Path | str, wait: bool = False) -> Iterator[None]:
    """Hold ``folder`` for one run at a time.

    The lock goes when its holder ends, however it ends, so a killed run leaves nothing to clean
    up.

    Args:
        folder: made if it is not there.
        wait: wait for the holder instead of giving up; for writes that take a moment.

    Raises:
        FolderInUseError: another process holds it, and ``wait`` is False.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise FolderInUseError(
                f"{folder}: another run is writing here; wait for it to end, or stop it"
            ) from None
        yield


def bytes_hash(path: Path | str) -> str:
    """SHA-256 (hex) of a file's bytes, whatever its name."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def text_hash(text: str) -> str:
    """SHA-256 (hex) of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def content_hash(paths: Iterable[Path | str], root: Path | str | None = None) -> str:
    """SHA-256 (hex) over the names (relative to ``root``) and bytes of ``paths``, in name order."""
    digest = hashlib.sha256()
    root = Path(root) if root is not None else None
    named = sorted((str(Path(p).relative_to(root)) if root else Path(p).name, p) for p in paths)
    for name, path in named:
        digest.update(name.encode() + b"\0")
        digest.update(bytes.fromhex(bytes_hash(path)))
    return digest.hexdigest()
