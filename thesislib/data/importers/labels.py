"""Photos with labelled boxes: which labels are faces, which are people, and which photos those are.

What the importers of annotation tools have in common.
"""

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from thesislib.data.importers.source import AnnotatedFace, Box, Entry, Source, SourceError
from thesislib.data.names import plain_name, told_names

Kind = Literal["face", "person", "other"]
LabelsAre = Literal["people", "faces"]  # what a person may say of all labels
_WORD = re.compile(r"[^\W\d_]+")
_FACES = {"face", "faces", "head", "heads", "лицо", "лица"}
_NOT, _WITH = {"no", "not", "non", "none", "не", "нет", "без"}, {"with", "without", "of", "in"}
_NO_NAMES = {"__undefined__", "undefined", "true", "false", "nan", "null", "n/a"}
IDENTITY = ("identity", "name", "person")  # attributes that say who it is


@dataclasses.dataclass
class Labelled:
    """A photo as a table of an annotation tool tells of it.

    Attributes:
        table: in which it stands.
        name: of its file, as it stands there, from the table's folder or the end of its path.
        size: width and height of the photo as it was annotated, where it is told.
        boxes: label, identity or "", and box.
        skipped: shapes without an area.
        broken: why it cannot be used, or "".
        file: the photo, where the table need not name it.
    """

    table: Path
    name: str
    size: tuple[int, int] | None = None
    boxes: list[tuple[str, str, Box]] = dataclasses.field(default_factory=list)
    skipped: int = 0
    broken: str = ""
    file: Path | None = None

    def add(self, label: Any, identity: str, box: Sequence[Any], where: str) -> None:
        """Add a box; if it is none, the photo cannot be used.

        Args:
            label: of the box.
            identity: or "".
            box: x1, y1, x2, y2, numbers or text.
            where: in the table, for messages.
        """
        try:
            x1, y1, x2, y2 = (float(value) for value in box)
            if not all(map(math.isfinite, (x1, y1, x2, y2))):
                raise ValueError
        except (TypeError, ValueError):
            self.broken = f"{self.table.name}, {where}: the box {list(box)!r} is none: left out"
        else:
            # Tools write corners in the order in which they were drawn.
            low, high = (min(x1, x2), min(y1, y2)), (max(x1, x2), max(y1, y2))
            self.boxes.append((str(label), identity, (*low, *high)))

    def is_of(self, width: Any, height: Any) -> None:
        """Take over the size of the photo, where a table tells it."""
        try:
            size = (int(float(width)), int(float(height)))
        except (TypeError, ValueError, OverflowError):
            return
        self.size = size if min(size) > 0 else None


def identity_in(attributes: Any) -> str:
    """Who it is, by an attribute ``identity``, ``name`` or ``person`` of any case; else ""."""
    if not isinstance(attributes, Mapping):
        return ""
    told = {str(name).casefold(): value for name, value in attributes.items()}
    return next((name for key in IDENTITY if (name := name_of(told.get(key)))), "")


def name_of(value: Any) -> str:
    """A name as tables have it: text, a number, or what is ticked of several; else "".

    >>> name_of(" Anna "), name_of(7.0), name_of({"Anna": True, "Bob": False}), name_of(None)
    ('Anna', '7', 'Anna', '')
    """
    if isinstance(value, Mapping):  # of boxes to be ticked
        return ", ".join(str(name) for name, ticked in value.items() if ticked)
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:g}"
    name = plain_name(str(value))
    return "" if name.casefold() in _NO_NAMES else name


def is_face(label: str) -> bool:
    """Whether a label is one of faces, as ``Student-faces`` is and ``surface`` is not.

    Its last word is face or head, or its first one with a word such as *with* behind it, and none
    of its words is *no*.

    >>> is_face("Student-faces"), is_face("face_with_mask"), is_face("surface"), is_face("no_face")
    (True, True, False, False)
    """
    words = _WORD.findall(label.casefold())
    if not words or not _NOT.isdisjoint(words):
        return False
    return words[-1] in _FACES or (words[0] in _FACES and words[1] in _WITH)


def kinds_of(
    source: Source, labels: Mapping[str, str], labels_are: LabelsAre | None
) -> dict[str, Kind]:
    """What each label stands for.

    Labels below a heading that is a label itself are people (as Roboflow exports a project of
    several classes), and the heading is a face whose name is not known; unless labels below it are
    called faces. Of the others those with the word face in them are faces, and the rest is
    something else. No label at all is a face's.

    Args:
        source: in which is said which labels are people.
        labels: the heading of each label, or "".
        labels_are: what they are, where somebody says it.

    Raises:
        SourceError: none of them is a face or a person.
    """
    if labels_are is not None:
        kind: Kind = "person" if labels_are == "people" else "face"
        return dict.fromkeys(labels, kind)
    below: dict[str, list[str]] = {}
    for label, heading in labels.items():
        if heading in labels and heading != label:
            below.setdefault(heading, []).append(label)
    below = {h: ls for h, ls in below.items() if is_face(h) or not any(map(is_face, ls))}
    people = {label for ones in below.values() for label in ones}
    for heading, ones in below.items():
        source.said.append(f"labels below {heading!r} are people: {told_names(ones)}")
    kinds: dict[str, Kind] = {
        label: "person"
        if label in people
        else "face"
        if label in below or label == "" or is_face(label)
        else "other"
        for label in labels
    }
    if labels and "person" not in kinds.values() and "face" not in kinds.values():
        raise SourceError(
            f"{source.folder.name}: no label is named face among {told_names(sorted(labels))}; say "
            "what they are with --labels-are people or --labels-are faces"
        )
    return kinds


def entries_of(
    source: Source,
    photos: Sequence[Labelled],
    labels_are: LabelsAre | None,
    labels: Mapping[str, str] | None = None,
) -> list[Entry]:
    """Photos with the faces among their boxes.

    Listed and left out are photos that are not there, that a name does not tell from others, that
    stand in the tables twice, with a broken box, or with boxes of something else alone: whether
    those show a face has not been said.

    Args:
        source: in which is noted what is passed over.
        photos: of all tables.
        labels_are: see :func:`kinds_of`.
        labels: heading of each label, or ""; None for labels without headings.

    Raises:
        SourceError: no photo is left with a face, or labels do not tell what they are.
    """
    used = dict.fromkeys(label for photo in photos for label, *_ in photo.boxes)
    kinds = kinds_of(source, dict.fromkeys(used, "") if labels is None else labels, labels_are)
    found = [_files(source, photo) for photo in photos]
    several = Counter(files[0] for files in found if len(files) == 1)
    entries: list[Entry] = []
    others: Counter[str] = Counter()
    noted: set[Path] = set()
    for photo, files in zip(photos, found, strict=True):
        reason = _why_not(photo, files, several, kinds)
        if reason is None:
            faces = []
            for label, identity, box in photo.boxes:
                if kinds[label] == "other":
                    others[label] += 1
                else:
                    person = label if kinds[label] == "person" else identity
                    faces.append(AnnotatedFace(plain_name(person), box))
            entries.append(Entry(files[0], tuple(faces), size=photo.size))
            if photo.skipped:
                source.note(files[0], f"{photo.skipped} shapes have no area: passed over")
        elif not files:
            source.note(photo.table, reason)
        else:
            for file in files:
                if file not in noted:
                    source.note(file, reason)
            noted.update(files)
    for label, count in others.items():
        source.said.append(f"{count} boxes of {label} are passed over: no face")
    if not any(entry.faces for entry in entries):
        reasons = [reason for _, reason in source.to_look_over[:3]]
        told = f": {'; '.join(reasons)}" if reasons else ""
        raise SourceError(f"{source.folder.name}: no photo with boxes that can be used{told}")
    return entries


def _files(source: Source, photo: Labelled) -> list[Path]:
    return [photo.file] if photo.file is not None else source.find(photo.table, photo.name)


def _why_not(
    photo: Labelled, files: Sequence[Path], several: Mapping[Path, int], kinds: Mapping[str, Kind]
) -> str | None:
    """Why a photo is not taken; None where it is."""
    if not files:
        return f"{photo.name} is not there"
    if len(files) > 1:
        return f"{photo.name} in {photo.table.name} may be any of {len(files)} files: left out"
    if several[files[0]] > 1:
        return f"stands {several[files[0]]} times in the tables: left out"
    if photo.broken:
        return photo.broken
    if photo.skipped and not photo.boxes:
        return "no shape has an area: left out"
    if photo.boxes and all(kinds[label] == "other" for label, *_ in photo.boxes):
        labels = ", ".join(sorted({label for label, *_ in photo.boxes}))
        return f"boxes of {labels} alone: left out"
    return None
