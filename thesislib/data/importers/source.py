"""What importers share: a collection's folder, its photos as entries, and reading its tables."""

import dataclasses
import functools
import math
import os
import posixpath
from collections.abc import Iterable, Sequence
from pathlib import Path

from thesislib.data.images import DRAWN, PHOTO_SUFFIXES
from thesislib.data.names import decoded, plain_name

SHORT_SIDE = 320  # pixels to which photos are scaled down, as the thesis did

# What systems and photo managers put beside photos, in lower case, and how such names begin.
_SYSTEM = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "lost+found"}
_SYSTEM |= {"$recycle.bin", "system volume information", ".ds_store", ".picasa.ini", ".nomedia"}
_SYSTEM |= {".directory", ".localized", ".thumbnails", ".dtrash", ".git", ".gitignore", ".lock"}
_SYSTEM |= {".picasaoriginals", ".spotlight-v100", ".fseventsd", ".ipynb_checkpoints"}
_SYSTEM_BEGINS = ("._", ".trash", ".nfs", ".~", ".fuse_hidden", ".syncthing", ".stfolder")

Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels of the source's photo


class SourceError(ValueError):
    """A source that is not in its form; the message names the file and the line."""


@dataclasses.dataclass(frozen=True)
class AnnotatedFace:
    """One face as the source annotates it.

    Attributes:
        identity: "" for somebody unknown.
        box: None where the source has none and the detector is to find it.
    """

    identity: str
    box: Box | None


@dataclasses.dataclass(frozen=True)
class Entry:
    """One photo to import.

    Attributes:
        file: in the source's folder.
        faces: none for a photo known to show nobody.
        session: a sitting, or "".
        size: width and height of the photo in whose pixels the boxes are, where the source tells.
        stored: where the size does not tell, the boxes are of the photo before EXIF's turn.
    """

    file: Path
    faces: tuple[AnnotatedFace, ...]
    session: str = ""
    size: tuple[int, int] | None = None
    stored: bool = False


@dataclasses.dataclass
class Source:
    """A source's folder, and what is noticed while it is read.

    Attributes:
        folder: where it lies; never written to.
        encoding: code page of names that are not UTF-8; None where it can be told from them.
        to_look_over: (path within the folder, reason) of what a person should look at.
        said: sentences about how the source was read.
    """

    folder: Path
    encoding: str | None = None
    to_look_over: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    said: list[str] = dataclasses.field(default_factory=list)
    _tables: set[Path] = dataclasses.field(default_factory=set)
    _unread: list[tuple[Path, str]] = dataclasses.field(default_factory=list)

    def note(self, file: Path, reason: str) -> None:
        """List something to look over."""
        self.to_look_over.append((self.shown(file), reason))

    def name(self, part: str) -> str:
        """A folder's or file's name as text in one form, whatever code page the disk has it in.

        Raises:
            SourceError: a code page that cannot be told.
        """
        if not _is_foreign(part):
            return plain_name(part)
        try:
            return plain_name(os.fsencode(part).decode(self._code_page))
        except (UnicodeDecodeError, LookupError) as error:
            raise SourceError(
                f"{self.folder}: the name {os.fsencode(part)!r} is not in {self._code_page} "
                f"({error})"
            ) from None

    def shown(self, file: Path) -> str:
        """A path within the folder as people read it."""
        parts = file.relative_to(self.folder).parts
        return "/".join(map(self.name, parts)) or "."

    @functools.cached_property
    def _code_page(self) -> str:
        if self.encoding is not None:
            return self.encoding
        parts = {part for file in self.all_files for part in file.relative_to(self.folder).parts}
        foreign = sorted(part for part in parts if _is_foreign(part))
        told = decoded([os.fsencode(part) for part in foreign])
        if told is None:
            raise SourceError(
                f"{self.folder}: names such as {os.fsencode(foreign[0])!r} are in a code page that "
                "cannot be told; say which with --encoding, as in --encoding cp1251"
            )
        self.said.append(f"names that are not UTF-8 are read as {told[1]}")
        return told[1]

    @functools.cached_property
    def all_files(self) -> list[Path]:
        """Every file, in order of the paths, less what systems put beside photos.

        Listed and left out are links that leave the folder, lead in circles or to folders, hidden
        files, what is no file, and folders that cannot be read.
        """
        files: list[Path] = []
        waiting = [self.folder]
        while waiting:
            path = waiting.pop()
            try:
                reason = self._why_not(path)
                if reason is not None:
                    self._unread.append((path, reason))
                elif path.is_dir():
                    inside = sorted(path.iterdir(), key=lambda one: one.name, reverse=True)
                    waiting += [one for one in inside if not _is_systems(one.name)]
                else:
                    files.append(path)
            except OSError as error:
                self._unread.append((path, f"cannot be read ({error.strerror}): left out"))
        return files

    def _why_not(self, path: Path) -> str | None:
        """Why a file or folder is not looked at; None where it is."""
        if path == self.folder:
            return None
        if path.name.startswith("."):
            return "hidden: left out"
        if path.name.endswith(DRAWN):
            return "a picture that was drawn, no photo: left out"
        if path.is_symlink():
            if not self._stays(path):
                return "a link that leads out of the folder or nowhere: left out"
            if path.is_dir():
                return "a link to a folder, which is met in its own place: left out"
        if not path.is_dir() and not path.is_file():
            return "no file: left out"
        return None

    def _stays(self, link: Path) -> bool:
        try:
            target = link.resolve(strict=True)
        except (OSError, RuntimeError):  # nowhere, or in a circle
            return False
        return target.is_relative_to(self.folder.resolve())

    def files(self, suffixes: set[str]) -> list[Path]:
        """All files with such a suffix (lower case; any case on disk), in order of their paths."""
        found = [file for file in self.all_files if file.suffix.lower() in suffixes]
        if not suffixes & PHOTO_SUFFIXES:
            self._tables.update(found)
        return found

    def photos(self) -> list[Path]:
        """All photos."""
        return self.files(PHOTO_SUFFIXES)

    def one(self, name: str) -> Path:
        """The file of that name, wherever it lies.

        Raises:
            SourceError: there is none, or several.
        """
        found = [file for file in self.files({Path(name).suffix.lower()}) if file.name == name]
        if len(found) != 1:
            raise SourceError(f"{self.folder}: {len(found)} files named {name}, needs one")
        return found[0]

    def find(self, table: Path, name: str) -> list[Path]:
        """The photos that a name in a table may mean.

        Args:
            table: in which it stands.
            name: a path from the table's folder, or the end of one from anywhere in the source;
                with either slash. Of one from another machine's root, as much as is found here, a
                folder and a name at least. A mere name, where tables lie in several folders, is of
                a photo in a folder of that name.
        """
        by_path, by_ending = self._by_name
        parts = [plain_name(part) for part in name.replace("\\", "/").split("/") if part]
        beside = posixpath.normpath("/".join([self.shown(table.parent), *parts]))
        if beside in by_path:
            return by_path[beside]
        is_rooted = name.startswith(("/", "\\")) or bool(parts and parts[0].endswith(":"))
        parts = [part for part in parts if part not in (".", "..")]
        # Less than a folder and a name would be another person's photo of that name.
        shortest = max(1, len(parts) - 1) if is_rooted else 1
        for at in range(shortest):
            found = by_ending.get("/".join(parts[at:]), [])
            if len(parts) == 1 and self._has_tables_in_folders:
                found = [photo for photo in found if photo.parent.name == table.parent.name]
            if found:
                return found
        return []

    @functools.cached_property
    def _has_tables_in_folders(self) -> bool:
        """Whether tables lie in several folders, as the photos they tell of do."""
        return len({table.parent for table in self._tables}) > 1

    @functools.cached_property
    def _by_name(self) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
        """Photos by their path in the folder, and by each end of it."""
        by_path: dict[str, list[Path]] = {}
        by_ending: dict[str, list[Path]] = {}
        for photo in self.photos():
            path = self.shown(photo)
            by_path.setdefault(path, []).append(photo)
            parts = path.split("/")
            for at in range(len(parts)):
                by_ending.setdefault("/".join(parts[at:]), []).append(photo)
        return by_path, by_ending

    def note_passed_over(self, entries: Iterable[Entry]) -> None:
        """List every file that is neither in an entry nor a table, nor listed already."""
        used = {entry.file for entry in entries} | self._tables
        listed = {photo for photo, _ in self.to_look_over}
        for path, reason in self._unread:
            self.note(path, reason)
        for file in self.all_files:
            if file in used or self.shown(file) in listed:
                continue
            known = file.suffix.lower() in PHOTO_SUFFIXES
            self.note(file, "in no table: left out" if known else "no photo that is read: left out")

    def nothing_found(self, looked_for: str) -> SourceError:
        """The error to raise where a source has no photo of its form."""
        unread = "".join(f"; {self.shown(path)}: {reason}" for path, reason in self._unread[:3])
        return SourceError(f"{self.folder}: no photos found; looked for {looked_for}{unread}")


def _is_systems(name: str) -> bool:
    return name.casefold() in _SYSTEM or name.casefold().startswith(_SYSTEM_BEGINS)


def _is_foreign(name: str) -> bool:
    """Whether a name is not UTF-8; Python keeps such bytes as surrogates."""
    return any("\udc80" <= c <= "\udcff" for c in name)


def read_lines(path: Path) -> list[str]:
    """Lines of a text file in UTF-8.

    Raises:
        SourceError: it is no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: no text ({error})") from None


def read_numbers(path: Path, line: int, words: Sequence[str], count: int, what: str) -> list[float]:
    """The numbers that begin a line of a table.

    Args:
        path: of the table, for messages.
        line: its number from 1, for messages.
        words: of the line.
        count: how many numbers.
        what: names of the numbers, for messages.

    Raises:
        SourceError: fewer words, or one that is no number.
    """
    try:
        if len(words) < count:
            raise ValueError
        numbers = [float(word) for word in words[:count]]
        if not all(map(math.isfinite, numbers)):
            raise ValueError
        return numbers
    except ValueError:
        raise SourceError(
            f"{path}, line {line}: {' '.join(words)!r}; expected {count} numbers, {what}"
        ) from None


def box_around(points: Iterable[tuple[float, float]]) -> Box:
    """The least box that holds all points (x, y); one at least."""
    xs, ys = zip(*points, strict=True)
    return (min(xs), min(ys), max(xs), max(ys))


def box_of_middle(x: float, y: float, width: float, height: float) -> Box:
    """A box from its middle and its size."""
    return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def box_of_size(x: float, y: float, width: float, height: float) -> Box:
    """A box from its top left corner and its size, in pixels."""
    return (x, y, x + width, y + height)
