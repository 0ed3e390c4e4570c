"""What photo collections look like on disk: each source's own files, read into entries.

Nothing is decoded or written here; :mod:`thesislib.data.importing` does that, the same for all.
"""

import csv
import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import scipy.io

PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
LFW_ENLARGED = 2.2  # an LFW photo is the detector's box, enlarged so many times


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


def _numbers(path: Path, line: int, words: list[str], count: int, what: str) -> list[float]:
    try:
        if len(words) < count:
            raise ValueError
        return [float(word) for word in words[:count]]
    except ValueError:
        raise SourceError(
            f"{path}, line {line}: {' '.join(words)!r}; expected {count} numbers, {what}"
        ) from None


def _none_found(source: Source, looked_for: str) -> SourceError:
    return SourceError(f"{source.folder}: no photos found; looked for {looked_for}")


def georgia_tech(source: Source) -> list[Entry]:
    """Georgia Tech face database: ``sNN/MM.jpg`` and ``labels/labNNN.txt``.

    Twenty numbers are kept for each person: photo MM of person P has label 20 (P - 1) + MM, one
    line ``x_left y_top x_right y_bottom sP``.
    """
    labels = {}
    for path in source.files({".txt"}):
        match = re.fullmatch(r"lab(\d+)", path.stem)
        if match:
            words = " ".join(_lines(path)).split()
            box = _numbers(path, 1, words, 4, "x_left y_top x_right y_bottom, then the person")
            person = words[4].lstrip("s") if len(words) > 4 else ""
            number = int(match[1])
            if not person.isdecimal() or int(person) != (number - 1) // 20 + 1:
                raise SourceError(
                    f"{path}, line 1: person {words[4] if len(words) > 4 else '?'!r}; "
                    f"label {number} is of s{(number - 1) // 20 + 1}"
                )
            labels[number] = (path, tuple(box))
    entries = []
    for file in source.photos():
        person = re.fullmatch(r"s(\d+)", file.parent.name)
        if not person or not file.stem.isdecimal():
            continue
        label = labels.pop(20 * (int(person[1]) - 1) + int(file.stem), None)
        if label is None:
            source.note(file, "no label: box from the detector")
        box = label[1] if label else None
        entries.append(Entry(file, (Face(file.parent.name, box),)))
    if not entries:
        raise _none_found(source, "sNN/MM.jpg")
    for path, _ in labels.values():
        source.note(path, "a label without its photo")
    return entries


def caltech_faces_1999(source: Source, identities: Path | None = None) -> list[Entry]:
    """Caltech Faces 1999: ``image_NNNN.jpg`` and corners in ``ImageData.mat``.

    Column N of ``SubDir_Data``, 8 x photos, holds x and y by turns of the face's four corners.

    Args:
        source: the folder.
        identities: a CSV table ``first,last,identity``, by photo numbers, as the collection
            itself does not say who is who.
    """
    if identities is None:
        raise SourceError(
            "caltech_faces_1999 needs --identities <table.csv> with columns first,last,identity "
            "(photo numbers), as the collection does not say who is who"
        )
    who = _identity_ranges(identities)
    path = source.one("ImageData.mat")
    try:
        corners = scipy.io.loadmat(path)["SubDir_Data"]
    except Exception as error:  # scipy raises whatever its parser met
        raise SourceError(f"{path}: cannot be read, or has no SubDir_Data ({error})") from None
    if corners.ndim != 2 or corners.shape[0] != 8:
        raise SourceError(f"{path}: SubDir_Data is {corners.shape}, expected 8 x photos")
    entries = []
    for file in source.photos():
        match = re.fullmatch(r"image_(\d+)", file.stem)
        if not match:
            continue
        number = int(match[1])
        box = None
        if 1 <= number <= corners.shape[1]:
            x, y = corners[0::2, number - 1], corners[1::2, number - 1]
            box = (float(x.min()), float(y.min()), float(x.max()), float(y.max()))
        else:
            source.note(file, "no column in ImageData.mat: box from the detector")
        if number not in who:
            source.note(file, f"in no row of {identities.name}: unknown person")
        entries.append(Entry(file, (Face(who.get(number, ""), box),)))
    if not entries:
        raise _none_found(source, "image_NNNN.jpg")
    return entries


def _identity_ranges(path: Path) -> dict[int, str]:
    who: dict[int, str] = {}
    if not path.is_file():
        raise SourceError(f"{path}: no such file")
    rows = csv.DictReader(_lines(path))
    if not {"first", "last", "identity"} <= set(rows.fieldnames or []):
        raise SourceError(f"{path}, line 1: columns are {rows.fieldnames}, not first,last,identity")
    for line, row in enumerate(rows, start=2):
        words = [row["first"] or "", row["last"] or ""]
        first, last = (int(v) for v in _numbers(path, line, words, 2, "first and last"))
        for number in range(first, last + 1):
            if number in who:
                raise SourceError(f"{path}, line {line}: photo {number} is in an earlier row too")
            who[number] = (row["identity"] or "").strip()
    return who


def fei(source: Source) -> list[Entry]:
    """FEI face database: ``P-MM.jpg``, 14 photos (MM) of each person (P), without boxes."""
    entries = []
    for file in source.photos():
        match = re.fullmatch(r"(\d+)-(\d+)", file.stem)
        if match:
            entries.append(Entry(file, (Face(f"{int(match[1]):03d}", None),)))
        else:
            source.note(file, "not named P-MM: left out")
    if not entries:
        raise _none_found(source, "P-MM.jpg")
    return entries


def lfw(source: Source) -> list[Entry]:
    """Labeled Faces in the Wild: ``Name/Name_NNNN.jpg``.

    The photos are a detector's boxes, enlarged 2.2 times, so the box is the centre of each.
    ``sklearn.datasets.fetch_lfw_people(data_home=...)`` downloads them.
    """
    entries = []
    for file in source.photos():
        if re.fullmatch(re.escape(file.parent.name) + r"_\d+", file.stem):
            entries.append(Entry(file, (Face(file.parent.name, CENTRE),)))
        else:
            source.note(file, "not named Name/Name_NNNN: left out")
    if not entries:
        raise _none_found(source, "Name/Name_NNNN.jpg")
    return entries


# In the place of a box: the photo's centre, as its size is not known before it is opened.
CENTRE = (-1.0, -1.0, -1.0, -1.0)


def celeba(source: Source) -> list[Entry]:
    """CelebA in the wild: ``identity_CelebA.txt``, ``list_bbox_celeba.txt`` and the photos.

    The box file has a count, a header, then ``name x y width height``.
    """
    files = {file.name: file for file in source.photos()}
    who = {}
    path = source.one("identity_CelebA.txt")
    for line, text in enumerate(_lines(path), start=1):
        words = text.split()
        if words:
            if len(words) != 2:
                raise SourceError(f"{path}, line {line}: {text!r}; expected a name and a number")
            who[words[0]] = words[1]
    entries = []
    path = source.one("list_bbox_celeba.txt")
    for line, text in enumerate(_lines(path), start=1):
        words = text.split()
        if line <= 2 or not words:
            continue
        x, y, width, height = _numbers(path, line, words[1:], 4, "x y width height")
        file = files.pop(words[0], None)
        if file is None:
            source.note(path, f"line {line}: {words[0]} is not there")
            continue
        if words[0] not in who:
            source.note(file, "not in identity_CelebA.txt: unknown person")
        face = Face(who.get(words[0], ""), (x, y, x + width, y + height))
        entries.append(Entry(file, (face,)))
    if not entries:
        raise _none_found(source, "the photos that list_bbox_celeba.txt names")
    for file in files.values():
        source.note(file, "no box in list_bbox_celeba.txt: left out")
    return entries


def wider_face(source: Source) -> list[Entry]:
    """WIDER FACE: ``wider_face_*_bbx_gt.txt`` and ``images/``; boxes without identities.

    A photo's path, the number of its boxes, then a line ``x y width height ...`` for each (one of
    zeros where there are none). Boxes marked invalid, or without area, are left out.
    """
    files = {"/".join(file.parts[-2:]): file for file in source.photos()}
    tables = [f for f in source.files({".txt"}) if re.fullmatch(r"wider_face_.*_bbx_gt", f.stem)]
    entries = []
    for path in tables:
        lines = _lines(path)
        at = 0
        while at < len(lines):
            name = lines[at].strip()
            if not name:
                at += 1
                continue
            words = lines[at + 1].split() if at + 1 < len(lines) else []
            (count,) = _numbers(path, at + 2, words, 1, "how many boxes follow")
            faces = []
            for line in range(at + 2, at + 2 + max(1, int(count))):
                words = lines[line].split() if line < len(lines) else []
                values = _numbers(path, line + 1, words, 4, "x y width height")
                invalid = len(words) > 7 and words[7] == "1"
                if values[2] > 0 and values[3] > 0 and not invalid:
                    x, y, width, height = values
                    faces.append(Face("", (x, y, x + width, y + height)))
            at += 2 + max(1, int(count))
            file = files.get("/".join(PurePosixPath(name).parts[-2:]))
            if file is None:
                source.note(path, f"{name} is not there")
            else:
                entries.append(Entry(file, tuple(faces)))
    if not entries:
        raise _none_found(source, "wider_face_*_bbx_gt.txt and the photos it names")
    return entries


def coco(source: Source) -> list[Entry]:
    """COCO JSON: the faces (or, if there are none, the only category) of the one ``.json`` file.

    A box is ``bbox`` [x, y, width, height]; who it is may stand in the annotation's ``identity``
    or in its ``attributes``. Crowds (``iscrowd``) are passed over.
    """
    tables = source.files({".json"})
    if len(tables) != 1:
        raise SourceError(f"{source.folder}: {len(tables)} .json files, needs one")
    path = tables[0]
    try:
        table = json.loads(path.read_text(encoding="utf-8-sig"))
        photos = {image["id"]: image["file_name"] for image in table["images"]}
        categories = {c["id"]: str(c["name"]).lower() for c in table.get("categories", [])}
        annotations = table["annotations"]
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise SourceError(f"{path}: not COCO JSON ({type(error).__name__}: {error})") from None
    wanted = {key for key, name in categories.items() if "face" in name}
    if not wanted and len(categories) > 1:
        names = ", ".join(categories.values())
        raise SourceError(f"{path}: no category named face among {names}")
    faces: dict = {key: [] for key in photos}
    for at, annotation in enumerate(annotations):
        if annotation.get("iscrowd") or (wanted and annotation.get("category_id") not in wanted):
            continue
        key, box = annotation.get("image_id"), annotation.get("bbox")
        if key not in photos or not isinstance(box, list) or len(box) != 4:
            raise SourceError(f"{path}, annotation {at}: image_id {key!r}, bbox {box!r}")
        x, y, width, height = (float(value) for value in box)
        attributes = annotation.get("attributes") or {}
        identity = str(annotation.get("identity", attributes.get("identity", "")) or "")
        faces[key].append(Face(identity, (x, y, x + width, y + height)))
    files = {file.relative_to(source.folder).as_posix(): file for file in source.photos()}
    entries = []
    for key, name in photos.items():
        near = (path.parent / name).resolve()
        file = next((f for f in files.values() if f.resolve() == near), None)
        file = file or next((f for n, f in files.items() if n.endswith(f"/{name}")), None)
        if file is None:
            source.note(path, f"{name} is not there")
        else:
            entries.append(Entry(file, tuple(faces[key])))
    if not entries:
        raise _none_found(source, f"the photos that {path.name} names")
    return entries


def folder(source: Source) -> list[Entry]:
    """One folder per person, ``anna/1.jpg``; folders in it are sittings, ``anna/may/1.jpg``."""
    entries = []
    for file in source.photos():
        parts = file.relative_to(source.folder).parts
        if len(parts) == 1:
            source.note(file, "in no person's folder: left out")
        else:
            session = "/".join(parts[1:-1])
            entries.append(Entry(file, (Face(parts[0].strip(), None),), session))
    if not entries:
        raise _none_found(source, "<person>/<photo>.jpg")
    return entries


SOURCES: dict[str, Callable[..., list[Entry]]] = {
    read.__name__: read
    for read in (georgia_tech, caltech_faces_1999, fei, lfw, celeba, wider_face, coco, folder)
}
