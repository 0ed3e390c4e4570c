"""What importers share: a source's folder, its entries, and reading its tables."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

SHORT_SIDE = 320  # pixels, as the thesis scaled its photos

PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}


class SourceError(ValueError):
    """A source that is not in its form; the message names the file and the line."""


@dataclasses.dataclass(frozen=True)
class Face:
    """One face: ``identity`` ("" is unknown) and ``box`` (x1, y1, x2, y2) or None.

    The box is in pixels of the source's photo; None is for the detector to find.
    """

    identity: str
    box: tuple[float, float, float, float] | None


@dataclasses.dataclass(frozen=True)
class Entry:
    """One photo to import.

    Attributes:
        file: in the source's folder.
        faces: none for a photo known to show nobody.
        session: a sitting, or "".
    """

    file: Path
    faces: tuple[Face, ...]
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


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: no text ({error})") from None


def numbers(path: Path, line: int, words: list[str], count: int, what: str) -> list[float]:
    try:
        if len(words) < count:
            raise ValueError
        return [float(word) for word in words[:count]]
    except ValueError:
        raise SourceError(
            f"{path}, line {line}: {' '.join(words)!r}; expected {count} numbers, {what}"
        ) from None


def none_found(source: Source, looked_for: str) -> SourceError:
    return SourceError(f"{source.folder}: no photos found; looked for {looked_for}")
