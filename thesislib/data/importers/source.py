"""What importers share: a collection's folder, its photos as entries, and reading its tables."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from thesislib.data.images import PHOTO_SUFFIXES

SHORT_SIDE = 320  # pixels to which photos are scaled down, as the thesis did

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
    """

    file: Path
    faces: tuple[AnnotatedFace, ...]
    session: str = ""


@dataclasses.dataclass
class Source:
    """A source's folder, and what is noticed while it is read.

    Attributes:
        folder: where it lies; never written to.
        to_look_over: (path within the folder, reason) of what a person should look at.
    """

    folder: Path
    to_look_over: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    def note(self, file: Path, reason: str) -> None:
        """List something to look over."""
        self.to_look_over.append((file.relative_to(self.folder).as_posix(), reason))

    def files(self, suffixes: set[str]) -> list[Path]:
        """All files with such a suffix (lower case; any case on disk), in order of their names.

        Links that leave the folder are listed and left out; what systems put beside photos
        (``._x.jpg``, hidden files) is passed over.
        """
        return sorted(self._walk(self.folder, suffixes), key=lambda file: file.as_posix())

    def _walk(self, folder: Path, suffixes: set[str]) -> Iterator[Path]:
        for path in folder.iterdir():
            if path.name.startswith("."):
                continue
            if path.is_symlink() and not self._stays(path):
                self.note(path, "a link that leads out of the folder or nowhere: left out")
            elif path.is_dir():
                if not path.is_symlink():  # what it leads to is met in its own place
                    yield from self._walk(path, suffixes)
            elif path.suffix.lower() in suffixes:
                yield path

    def _stays(self, link: Path) -> bool:
        target = link.resolve()
        return target.exists() and target.is_relative_to(self.folder.resolve())

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

    def nothing_found(self, looked_for: str) -> SourceError:
        """The error to raise where a source has no photo of its form."""
        return SourceError(f"{self.folder}: no photos found; looked for {looked_for}")


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
        return [float(word) for word in words[:count]]
    except ValueError:
        raise SourceError(
            f"{path}, line {line}: {' '.join(words)!r}; expected {count} numbers, {what}"
        ) from None


def box_of_size(x: float, y: float, width: float, height: float) -> Box:
    """A box from its top left corner and its size, in pixels."""
    return (x, y, x + width, y + height)
